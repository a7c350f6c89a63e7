package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// README's first command, as it stands there.
func TestReadmeCommand(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(env.Source(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```sh\n")
	command, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.Contains(command, "run --rm hello") || strings.Count(command, "\n") != 1 {
		t.Fatalf("README's first block is %q, want the one command that runs a container", command)
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = env.Source()
	state := t.TempDir()
	cmd.Env = append(os.Environ(), "LOPER_ROOT="+state+"/root", "LOPER_RUNROOT="+state+"/run")
	t.Cleanup(func() { // the network that the container was on stays, as it should
		prune := exec.Command(loper, "network", "prune", "-f")
		prune.Env = cmd.Env
		if out, err := prune.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "seccomp") {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}
