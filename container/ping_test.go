package container

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestLastPinger(t *testing.T) {
	for _, c := range []struct {
		want uint32
		gids []specs.LinuxIDMapping
	}{
		{65535, []specs.LinuxIDMapping{{HostID: 1879048192, Size: 65536}}},
		{0, []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}},
		{65536, []specs.LinuxIDMapping{{HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}},
		{0, []specs.LinuxIDMapping{{HostID: 1000000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}},
		{9, []specs.LinuxIDMapping{{HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 5000, Size: 9}, {ContainerID: 10, HostID: 2000, Size: 9}}},
	} {
		if got := lastPinger(c.gids); got != c.want {
			t.Errorf("%v: %d, want %d", c.gids, got, c.want)
		}
	}
}
