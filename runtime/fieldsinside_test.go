package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ownIDs(t testing.TB, o *Options) {
	mappedUser(o)
	mappedRoot(t, o)
}

// Fields of a process and of the kernel that the container can read.
func TestFieldsInside(t *testing.T) {
	offsets := func(o *Options) {
		o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		o.Spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1000, Nanosecs: 5}, "boottime": {Secs: 2000000000, Nanosecs: 999999999}}
	}
	uid := uint32(65533)
	for _, test := range []struct {
		name   string
		change func(*Options)
		script string
		want   string
	}{
		{"domainname", func(o *Options) { o.Spec.Domainname = "example.org" }, "cat /proc/sys/kernel/domainname", "example.org"},
		{"hostname sysctl", func(o *Options) {
			o.Spec.Hostname, o.Spec.Linux.Sysctl = "", map[string]string{"kernel.hostname": "box"}
		}, "hostname", "box"},
		{"time offsets", offsets, "cat /proc/self/timens_offsets", "monotonic        1000         5\nboottime   2000000000 999999999"},
		{"time of boot", offsets, "test $(head -c 10 /proc/uptime | busybox cut -d. -f1) -gt 2000000000 && echo later", "later"},
		{"LINUX32", func(o *Options) { o.Spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }, "busybox uname -m", "i686"},
		{"LINUX", func(o *Options) { o.Spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux} }, "busybox uname -m", machine(t)},
		{"the last id", func(o *Options) {
			o.Spec.Process.User = specs.User{UID: uid, GID: uid, AdditionalGids: []uint32{uid - 1}}
		}, "id -u; id -g; id -G", "65533\n65533\n65533 65532"},
		{"command line of Windows", func(o *Options) { o.Spec.Process.CommandLine = "cmd.exe" }, "echo ignored", "ignored"},
		{"console size without a terminal", func(o *Options) { o.Spec.Process.ConsoleSize = &specs.Box{Width: 1 << 20, Height: 1} }, "echo ignored", "ignored"},
		{"score of the parent", nil, "cat /proc/self/oom_score_adj", ownScore(t)},
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, " ", own), func(t *testing.T) {
				got := sh(t, func(o *Options) {
					if own {
						ownIDs(t, o)
					}
					if test.change != nil {
						test.change(o)
					}
				}, test.script)
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	}
}

func machine(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	return unix.ByteSliceToString(u.Machine[:])
}

func ownScore(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(string(readAll(t, "/proc/self/oom_score_adj")))
}

// Every limit of prlimit(2) has its name and its value, and exec takes over
// the container's.
func TestEveryRlimit(t *testing.T) {
	words := map[string]string{
		"RLIMIT_CPU": "cpu time", "RLIMIT_FSIZE": "file size", "RLIMIT_DATA": "data size", "RLIMIT_STACK": "stack size", "RLIMIT_CORE": "core file size",
		"RLIMIT_RSS": "resident set", "RLIMIT_NPROC": "processes", "RLIMIT_NOFILE": "open files", "RLIMIT_MEMLOCK": "locked memory", "RLIMIT_AS": "address space",
		"RLIMIT_LOCKS": "file locks", "RLIMIT_SIGPENDING": "pending signals", "RLIMIT_MSGQUEUE": "msgqueue size", "RLIMIT_NICE": "nice priority", "RLIMIT_RTPRIO": "realtime priority", "RLIMIT_RTTIME": "realtime timeout",
	}
	var limits []specs.POSIXRlimit
	for i, name := range rlimitNames {
		var own unix.Rlimit
		must(t, unix.Getrlimit(i, &own))
		hard := min(own.Max, uint64(1<<30+i))
		limits = append(limits, specs.POSIXRlimit{Type: name, Hard: hard, Soft: hard - min(hard, uint64(i))})
	}
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own ids ", own), func(t *testing.T) {
			c := running(t, func(o *Options) {
				if own {
					ownIDs(t, o)
				}
				o.Spec.Process.Rlimits = limits
			})
			for _, pid := range []int{c.Pid(), executed(t, c, nil).Pid()} {
				text := string(readAll(t, fmt.Sprintf("/proc/%d/limits", pid)))
				for _, l := range limits {
					_, rest, found := strings.Cut(text, "Max "+words[l.Type]+" ")
					fields := strings.Fields(rest)
					if !found || fields[0] != strconv.FormatUint(l.Soft, 10) || fields[1] != strconv.FormatUint(l.Hard, 10) {
						t.Errorf("%s: %.30q, want %d %d", l.Type, rest, l.Soft, l.Hard)
					}
				}
			}
		})
	}
}

// A number that does not fit is an error that names its place.
func TestNumbersThatOverflow(t *testing.T) {
	for text, field := range map[string]string{
		`{"uid": 4294967296}`:                     "process.user.uid",
		`{"uid": 0, "gid": 18446744073709551616}`: "process.user.gid",
		`{"uid": -1}`:                             "process.user.uid",
		`{"uid": 1.5}`:                            "process.user.uid",
		`{"uid": 0, "additionalGids": [1, 1e10]}`: "process.user.additionalGids",
		`{"uid": 0, "umask": 4294967296}`:         "process.user.umask",
		`{"uid": 4294967295}`:                     "process.user.uid",
	} {
		_, err := ParseSpec([]byte(`{"ociVersion":"1.0.0","root":{"path":"/x"},"process":{"cwd":"/","args":["x"],"user":` + text + `}}`))
		if err == nil || !strings.Contains(err.Error(), "config.json: "+field) {
			t.Errorf("%s: error %v, want one of %s", text, err, field)
		}
	}
}

func readAll(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}
