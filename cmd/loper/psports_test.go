package main

import (
	"testing"

	"loper.run/container"
)

func TestPortsText(t *testing.T) {
	both := func(port string) []container.PortBinding {
		return []container.PortBinding{{HostIP: "0.0.0.0", HostPort: port}, {HostIP: "::", HostPort: port}}
	}
	local := func(port string) []container.PortBinding {
		return []container.PortBinding{{HostIP: "127.0.0.1", HostPort: port}}
	}
	for want, ports := range map[string]container.PortMap{
		"":               {},
		"80/tcp":         {"80/tcp": nil},
		"80-82/tcp":      {"80/tcp": nil, "81/tcp": nil, "82/tcp": nil},
		"53/udp":         {"53/udp": nil},
		"53/tcp, 53/udp": {"53/tcp": nil, "53/udp": nil},
		"0.0.0.0:8080->80/tcp, [::]:8080->80/tcp":                         {"80/tcp": both("8080")},
		"0.0.0.0:80->80/tcp, [::]:80->80/tcp":                             {"80/tcp": both("80")},
		"0.0.0.0:8000-8002->8000-8002/tcp, [::]:8000-8002->8000-8002/tcp": {"8000/tcp": both("8000"), "8001/tcp": both("8001"), "8002/tcp": both("8002")},
		"127.0.0.1:1-2->1-2/tcp, 127.0.0.1:4->4/tcp, 127.0.0.1:9->8/tcp":  {"1/tcp": local("1"), "2/tcp": local("2"), "4/tcp": local("4"), "8/tcp": local("9")},
	} {
		if got := portsText(ports); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBitRate(t *testing.T) {
	for word, want := range map[string]uint64{"8000": 8000, "100mbit": 1e8, "1.5gbit": 15e8, "512kbit": 512e3, "10M": 1e7, "1tbit": 1e12} {
		if got, err := bitRate(word); err != nil || got != want {
			t.Errorf("%s: %d, %v", word, got, err)
		}
	}
	for _, bad := range []string{"", "x", "0", "-1", "1", "10mb", "2tbit", "10mbit/s", "NaN", "1e400"} {
		if got, err := bitRate(bad); err == nil {
			t.Errorf("%q: %d", bad, got)
		}
	}
}
