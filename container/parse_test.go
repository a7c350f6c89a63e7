package container

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseVolume(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]Mount{
		"/data":                  {Type: MountVolume, Target: "/data"},
		"vol:/data/":             {Type: MountVolume, Source: "vol", Target: "/data"},
		"vol:/data:nocopy,ro":    {Type: MountVolume, Source: "vol", Target: "/data", ReadOnly: true, NoCopy: true},
		"/src/../s:/d:ro,z":      {Type: MountBind, Source: "/s", Target: "/d", ReadOnly: true, CreateDir: true},
		"./x:/d":                 {Type: MountBind, Source: filepath.Join(cwd, "x"), Target: "/d", CreateDir: true},
		"/s:/d:rslave,noexec,rw": {Type: MountBind, Source: "/s", Target: "/d", Propagation: "rslave", Options: []string{"noexec"}, CreateDir: true},
		"/s:/d:bind,noidmap":     {Type: MountBind, Source: "/s", Target: "/d", NoRecursive: true, NoIDMap: true, CreateDir: true},
	} {
		got, err := ParseVolume(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", spec, diff)
		}
	}
	for spec, want := range map[string]string{
		"":                      "absolute",
		"data":                  "absolute",
		"vol:data":              "absolute",
		":/data":                "source is empty",
		"a b:/data":             "invalid name",
		"../../x/:/d:o:o":       "more than",
		"vol:/":                 "container's own",
		"vol:/../proc":          "container's own",
		"vol:/d:ro,what":        `unknown option "what"`,
		"/s:/d:shared,rprivate": "two propagations",
		"vol/../../etc:/d":      "invalid name",
		"v:/d\x00":              "zero byte",
	} {
		if _, err := ParseVolume(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, got %v", spec, want, err)
		}
	}
}

func TestParseMount(t *testing.T) {
	for spec, want := range map[string]Mount{
		"type=bind,source=/s,target=/d,readonly":                  {Type: MountBind, Source: "/s", Target: "/d", ReadOnly: true},
		"type=bind,src=/s,dst=/d,ro=false,bind-propagation=slave": {Type: MountBind, Source: "/s", Target: "/d", Propagation: "slave"},
		`type=bind,"src=/a,b",dst=/d`:                             {Type: MountBind, Source: "/a,b", Target: "/d"},
		"src=vol,dst=/d,volume-nocopy":                            {Type: MountVolume, Source: "vol", Target: "/d", NoCopy: true},
		"type=volume,destination=/d":                              {Type: MountVolume, Target: "/d"},
		"type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=1770":      {Type: MountTmpfs, Target: "/d", TmpfsSize: 1 << 20, TmpfsMode: 0o1770},
		"type=bind,src=/s,dst=/d,bind-recursive=disabled":         {Type: MountBind, Source: "/s", Target: "/d", NoRecursive: true},
	} {
		got, err := ParseMount(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", spec, diff)
		}
	}
	for spec, want := range map[string]string{
		"":                                                "empty",
		"type=bind,src=/s":                                "target is missing",
		"type=bind,src=s,dst=/d":                          "absolute",
		"type=image,src=s,dst=/d":                         `unknown type "image"`,
		"type=tmpfs,src=/s,dst=/d":                        "no source",
		"type=bind,src=/s,dst=/d,tmpfs-size=1":            "mean nothing",
		"type=bind,src=/s,dst=/d,nope=1":                  `unknown key "nope"`,
		"src=../x,dst=/d":                                 "invalid name",
		"type=bind,src=/s,dst=/d,ro=perhaps":              "ro:",
		"type=tmpfs,dst=/d,tmpfs-mode=9":                  "tmpfs-mode",
		"type=bind,src=/s,dst=/d,bind-propagation=noexec": "unknown propagation",
	} {
		if _, err := ParseMount(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, got %v", spec, want, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	for spec, want := range map[string]Ulimit{
		"nofile=10:20": {"nofile", 10, 20}, "CORE=-1": {"core", math.MaxUint64, math.MaxUint64}, "nproc=5:-1": {"nproc", 5, math.MaxUint64},
	} {
		if got, err := ParseUlimit(spec); err != nil || got != want {
			t.Errorf("%s: %+v, %v", spec, got, err)
		}
	}
	for _, bad := range []string{"", "nofile", "nofile=", "nofile=2:1", "nofiles=1", "nofile=a", "nofile=1:2:3"} {
		if _, err := ParseUlimit(bad); err == nil {
			t.Errorf("ulimit %q was accepted", bad)
		}
	}
	for spec, want := range map[string]Device{
		"/dev/x": {"/dev/x", "/dev/x", "rwm"}, "/dev/x:r": {"/dev/x", "/dev/x", "r"},
		"/dev/x:/y": {"/dev/x", "/y", "rwm"}, "/dev/x:/y:mr": {"/dev/x", "/y", "mr"},
	} {
		if got, err := ParseDevice(spec); err != nil || got != want {
			t.Errorf("%s: %+v, %v", spec, got, err)
		}
	}
	for _, bad := range []string{"", "x", "/x:y", "/x:/y:rr", "/x:/y:z", "/a:/b:r:w"} {
		if _, err := ParseDevice(bad); err == nil {
			t.Errorf("device %q was accepted", bad)
		}
	}
	for _, bad := range []string{"", "0", "-9", "65", "SIGX"} {
		if _, err := ParseSignal(bad); err == nil {
			t.Errorf("signal %q was accepted", bad)
		}
	}
}

func TestNames(t *testing.T) {
	for _, words := range [][]string{adjectives[:], nouns[:]} {
		seen := map[string]bool{}
		for _, w := range words {
			if CheckName(w) != nil || seen[w] {
				t.Errorf("word %q", w)
			}
			seen[w] = true
		}
	}
}

func TestParseServer(t *testing.T) {
	for _, good := range []string{"1.2.3.4", "::1", "fe80::1%eth0"} {
		if _, err := parseServer(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a", "1.2.3.4\nsearch x", "fe80::1%eth0\nsearch x", "fe80::1%eth0 x"} {
		if _, err := parseServer(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseHost(t *testing.T) {
	for entry, want := range map[string]string{"a:1.2.3.4": "1.2.3.4", "a:::1": "::1", "a=[fe80::1]": "fe80::1", "a:fe80::1%eth0": "fe80::1%eth0"} {
		if name, addr, err := parseHost(entry); err != nil || name != "a" || addr.String() != want {
			t.Errorf("%s: %q %q %v", entry, name, addr, err)
		}
	}
	for _, bad := range []string{"", "a", "a:", ":1.2.3.4", "a\n0.0.0.0 b:1.2.3.4", "a:1.2.3.4\nx", "a:fe80::1%x\n1.2.3.4 b", "a:fe80::1%x y"} {
		if _, _, err := parseHost(bad); err == nil {
			t.Errorf("host %q was accepted", bad)
		}
	}
}
