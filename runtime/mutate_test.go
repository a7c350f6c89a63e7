package runtime

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A config.json with any of its values replaced, or any of its bytes, compiles
// or gives an error of one line.
func TestMutatedConfig(t *testing.T) {
	data, err := json.Marshal(mutable(t))
	must(t, err)
	values := []string{
		`null`, `""`, `"x"`, `"/"`, `"../.."`, `"\u0000"`, `"a\nb"`, `0`, `-1`, `1.5`, `4294967295`, `18446744073709551615`, `-9223372036854775808`, `1e400`, `true`,
		`[]`, `{}`, `[null]`, `[""]`, `{"":""}`, `{"a":{"b":1}}`, `"` + strings.Repeat("y", 5000) + `"`, `[[[[]]]]`,
	}
	seed := *propertySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(1, seed))
	spans := valuesIn(data)
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	for range rounds {
		text := string(data)
		for range 1 + random.IntN(2) {
			if random.IntN(4) > 0 {
				s := spans[random.IntN(len(spans))]
				text = string(data[:s[0]]) + values[random.IntN(len(values))] + string(data[s[1]:])
			} else {
				at := random.IntN(len(text))
				text = text[:at] + string(rune(random.IntN(128))) + text[at+random.IntN(len(text)-at):]
			}
		}
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("seed %d: %v for %s", seed, r, text)
				}
			}()
			spec, err := ParseSpec([]byte(text))
			var compiled *Compiled
			if err == nil {
				compiled, err = Compile(spec, testHost(), Settings{Gate: random.IntN(2) == 0})
			}
			if err != nil {
				if !strings.Contains(err.Error(), "config.json") {
					t.Errorf("seed %d: %q says not where it is from", seed, err)
				}
				return
			}
			_ = compiled.Program.String()
		}()
	}
}

// valuesIn finds where the values in a JSON text are.
func valuesIn(data []byte) (spans [][2]int) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	var walk func()
	walk = func() {
		first := int(d.InputOffset())
		for strings.ContainsRune(" \n\t:,", rune(data[first])) {
			first++
		}
		token, err := d.Token()
		if err != nil {
			return
		}
		if open, ok := token.(json.Delim); ok {
			for d.More() {
				if open == '{' {
					d.Token()
				}
				walk()
			}
			d.Token()
		}
		spans = append(spans, [2]int{first, int(d.InputOffset())})
	}
	walk()
	return spans
}

// mutable is a config.json with something valid in most of its fields.
func mutable(t *testing.T) *specs.Spec {
	t.Helper()
	var s specs.Spec
	data, err := json.Marshal(exampleSpec(t, false))
	must(t, err)
	must(t, json.Unmarshal(data, &s))
	must(t, json.Unmarshal([]byte(`{
		"domainname": "d", "annotations": {"a": "b"},
		"hooks": {"prestart": [{"path": "/a", "args": ["a"], "env": ["A=B"], "timeout": 3}], "createContainer": [{"path": "/b"}], "startContainer": [{"path": "/c"}], "poststop": [{"path": "/d"}]},
		"process": {
			"terminal": true, "consoleSize": {"height": 3, "width": 4}, "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [3, 4]}, "args": ["sh", "-c", "true"],
			"oomScoreAdj": 100, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}, "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
			"execCPUAffinity": {"initial": "0", "final": "0-1"}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
		},
		"linux": {
			"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
			"sysctl": {"net.ipv4.ip_forward": "1"}, "rootfsPropagation": "rslave", "mountLabel": "a:b:c", "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}},
			"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "ipc"}, {"type": "user"}, {"type": "time"}, {"type": "cgroup"}],
			"devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}], "personality": {"domain": "LINUX32"},
			"netDevices": {"eth9": {"name": "eth0"}}, "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
			"intelRdt": {"closID": "x", "schemata": ["L3:0=f"], "enableMonitoring": true},
			"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
				"syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}, {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]},
			"resources": {"memory": {"limit": 1000000, "swap": 2000000}, "cpu": {"shares": 100, "quota": 1000, "period": 10000, "cpus": "0"}, "pids": {"limit": 5}}
		}
	}`), &s))
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "rel/ative", Type: "bind", Source: "/etc/hostname", Options: []string{"rbind", "rro", "idmap"}, UIDMappings: []specs.LinuxIDMapping{{HostID: 5, Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{HostID: 5, Size: 1}}},
		specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "size=1m", "rshared"}})
	must(t, Validate(&s))
	if _, err := Compile(&s, testHost(), Settings{Gate: true}); err != nil {
		t.Fatal(err)
	}
	return &s
}
