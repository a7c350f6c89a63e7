package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A few hundred containers are started, used, killed and removed, many at a time; then the host is as it was.
func TestStress(t *testing.T) {
	count := 300
	if testing.Short() {
		count = 40
	}
	if n, err := strconv.Atoi(os.Getenv("LOPER_STRESS")); err == nil {
		count = n
	}
	t.Run("root", func(t *testing.T) { stress(t, asRoot(t), count) })
	t.Run("user", func(t *testing.T) { stress(t, asUser(t, true), count/3) })
}

func stress(t *testing.T, e *engine, count int) {
	e.busybox()
	host := e.picture(e.root, e.runroot) // directories made at first use are there
	begun := time.Now()
	var next, started atomic.Int64
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for n := next.Add(1); n <= int64(count); n = next.Add(1) {
				if err := e.oneLife(fmt.Sprintf("stress-%d", n), random); err != nil {
					t.Error(err)
				}
				started.Add(1)
			}
		})
	}
	wait.Wait()
	t.Logf("%d containers in %v", started.Load(), time.Since(begun).Round(time.Millisecond))
	expect(t, "containers", e.must("ps", "-aq"), "")
	if diff := host.Settle(settle); len(diff) > 0 {
		t.Errorf("the host is not as it was:\n%s", short(strings.Join(diff, "\n")))
	}
	for _, dir := range []string{"container", "name", "ids"} {
		if entries, _ := os.ReadDir(filepath.Join(e.root, dir)); len(entries) > 0 && dir != "ids" {
			t.Errorf("%d entries left in %s", len(entries), dir)
		}
	}
}

// oneLife starts a container in one of several ways, ends it in one of several, and removes it.
func (e *engine) oneLife(name string, random *rand.Rand) error {
	expect := func(code int, args ...string) (string, error) {
		r := e.run(args...)
		if r.code != code {
			return "", fmt.Errorf("%s: want exit %d: %v", name, code, r)
		}
		return strings.TrimSpace(r.stdout), nil
	}
	if random.IntN(4) == 0 {
		out, err := expect(3, "run", "--rm", "--name", name, "busybox", "sh", "-c", "echo "+name+"; exit 3")
		if err == nil && out != name {
			err = fmt.Errorf("%s: output %q", name, out)
		}
		return err
	}
	if _, err := expect(0, "run", "-d", "--name", name, "-v", "/data", "busybox", "sh", "-c", "echo up; exec sleep 1000"); err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		if out, err := expect(0, "exec", name, "echo", "in", name); err != nil || out != "in "+name {
			return fmt.Errorf("%s: exec: %q, %w", name, out, err)
		}
	}
	if random.IntN(3) == 0 {
		if _, err := expect(0, "ps", "-a"); err != nil {
			return err
		}
	}
	switch random.IntN(4) {
	case 0:
		if _, err := expect(0, "kill", name); err != nil {
			return err
		}
		if out, err := expect(0, "wait", name); err != nil || out != "137" {
			return fmt.Errorf("%s: wait: %q, %w", name, out, err)
		}
		_, err := expect(0, "rm", "-v", name)
		return err
	case 1:
		if _, err := expect(0, "stop", "-t", "0", name); err != nil {
			return err
		}
		_, err := expect(0, "rm", "-v", name)
		return err
	case 2: // the monitor is killed
		id, err := expect(0, "inspect", "--format", "{{.Id}}", name)
		if err != nil {
			return err
		}
		for _, pid := range e.monitors(id) {
			kill9(pid)
		}
		_, err = expect(0, "rm", "-f", "-v", name)
		return err
	default:
		_, err := expect(0, "rm", "-f", "-v", name)
		return err
	}
}
