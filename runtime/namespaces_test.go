package runtime

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A pipe at the path of a namespace keeps nobody waiting.
func TestNamespaceIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := openNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path})
		result <- err
	}()
	select {
	case err := <-result:
		if err == nil || !strings.Contains(err.Error(), "is no network namespace") {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for who writes into the pipe")
	}
}
