package userns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mobyuser "github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) {
	Register("who", func(args []string) error {
		fmt.Printf("%d %q", os.Getuid(), args)
		io.Copy(os.Stdout, os.Stdin)
		io.Copy(os.Stdout, os.NewFile(3, "file"))
		return nil
	})
	Register("fail", func([]string) error { return errors.New("one line") })
	Register("shout", func([]string) error { return errors.New(strings.Repeat("x", 1<<20)) })
	Register("hang", func([]string) error { time.Sleep(time.Minute); return nil })
	Register("stay", func([]string) error { fmt.Println("here"); time.Sleep(time.Hour); return nil })
	Main()
	os.Exit(m.Run())
}

func TestMappings(t *testing.T) {
	got := mappings([]mobyuser.SubID{
		{SubID: 100000, Count: 65536}, {SubID: 100000, Count: 65536}, {SubID: 150000, Count: 10}, // the same by another name, and a part of it
		{SubID: 1 << 32, Count: 5}, {SubID: 1<<32 - 5, Count: 65536}, {SubID: -1, Count: 5}, {SubID: 7, Count: 0},
		{SubID: 300000, Count: 10},
	})
	want := []specs.LinuxIDMapping{{ContainerID: 1, HostID: 100000, Size: 65536}, {ContainerID: 65537, HostID: 300000, Size: 10}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// It runs as root, and as an ordinary user of a single id.
func TestWorker(t *testing.T) {
	if os.Geteuid() == 0 && os.Getenv("LOPER_TEST_WORKER") == "" {
		if _, err := exec.LookPath("setpriv"); err != nil {
			t.Skip("needs setpriv of Debian's util-linux: ", err)
		}
		dir := t.TempDir()
		for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
		binary, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, "test")
		if err := os.WriteFile(copied, binary, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", copied, "-test.run=^TestWorker$", "-test.v")
		cmd.Env, cmd.Dir, cmd.WaitDelay = append(os.Environ(), "LOPER_TEST_WORKER=1"), dir, 20*time.Second
		if out, err := cmd.CombinedOutput(); strings.Contains(string(out), "user namespaces may be off") {
			t.Skip("needs user namespaces for ordinary users")
		} else if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	pipe := func(content string) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
		w.Close()
		t.Cleanup(func() { r.Close() })
		return r
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	err = Worker{Name: "who", Args: []string{"a", "b c"}, Stdin: pipe(" in"), Stdout: w, Files: []*os.File{pipe(" file")}}.Run(context.Background())
	w.Close()
	if out, _ := io.ReadAll(r); err != nil || string(out) != `0 ["a" "b c"] in file` {
		t.Errorf("output %q, %v", out, err)
	}
	if err := (Worker{Name: "fail"}).Run(context.Background()); err == nil || err.Error() != "one line" {
		t.Errorf("error %v", err)
	}
	if err := (Worker{Name: "shout"}).Run(context.Background()); err == nil || len(err.Error()) != 64<<10 {
		t.Errorf("error of %d bytes", len(fmt.Sprint(err)))
	}
	if err := (Worker{Name: "nothing"}).Run(context.Background()); err == nil || !strings.Contains(err.Error(), `no worker is called "nothing"`) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := (Worker{Name: "hang"}).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
