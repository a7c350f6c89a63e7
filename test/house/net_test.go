package house_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// netProgram is the program with a network stack of its own, a module of its own for that.
const netProgram = "cmd/loper-net"

// directOfNet are the modules that loper-net depends on itself, and why each is there.
var directOfNet = map[string]string{
	"loper.run":         "its protocol, netlink and nftables, how a program joins namespaces and gives up its rights",
	"gvisor.dev/gvisor": "TCP and IP: the only complete stack in Go",
	"golang.org/x/sys":  "system calls",
}

func TestNetDependencies(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(env.Source(), netProgram, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	checkDirect(t, string(data), directOfNet)
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "replace") && strings.TrimSpace(line) != "replace loper.run => ../.." {
			t.Errorf("%s/go.mod: %s", netProgram, line)
		}
	}
	checkTidy(t, filepath.Join(env.Source(), netProgram))
}

// What only loper-net needs stays out of the other programs, and out of their module.
func TestNetStandsAlone(t *testing.T) {
	if strings.Contains(goMod(t), "gvisor") {
		t.Error("go.mod: gvisor")
	}
	for _, s := range allSources(t) {
		own, _ := imports(s)
		for _, path := range own {
			if within(path, netProgram) && !within(s.Dir, netProgram) {
				t.Errorf("%s imports %s", s.Path, path)
			}
			// The other way round it may use small things alone.
			if within(s.Dir, netProgram) && !within(path, netProgram, "internal", "launch") && !(within(path, "test/env") && s.Test) {
				t.Errorf("%s imports %s", s.Path, path)
			}
		}
	}
}

func TestNetSize(t *testing.T) {
	dir := t.TempDir()
	if err := env.BuildNet(dir); err != nil {
		t.Fatal(err)
	}
	checkProgram(t, filepath.Join(dir, "loper-net"), 7<<20)
}
