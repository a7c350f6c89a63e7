package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loper.run/test/env"
)

// Fifty processes at a time pull, run, tag, list, prune and remove the same few images. However they meet, no container
// lacks anything, and at the end nothing is damaged, left over, or not counted.
func TestCrowd(t *testing.T) {
	length := 20 * time.Second
	if testing.Short() {
		length = 5 * time.Second
	}
	t.Run("root", func(t *testing.T) { crowd(t, asRoot(t), length) })
	t.Run("user", func(t *testing.T) { crowd(t, asUser(t, true), length/2) })
}

func crowd(t *testing.T, e *engine, length time.Duration) {
	const many, images = 50, 6
	var names []string
	for i := range images {
		names = append(names, pushed(t, fmt.Sprintf("crowd:%d", i), func() (*env.Image, error) {
			base, err := env.Busybox()
			if err != nil {
				return nil, err
			}
			own := env.Gzipped(env.Tar(env.File{Name: "own", Body: fmt.Sprint("image ", i)}))
			pair := env.Gzipped(env.Tar(env.File{Name: "pair", Body: fmt.Sprint("pair ", i/2)}))
			return env.NewImage(env.RunConfig{Cmd: []string{"cat", "/own", "/pair"}, Env: []string{"PATH=/bin"}}, base.Layers[0], pair, own), nil
		}))
	}
	end := time.Now().Add(length)
	var wait sync.WaitGroup
	var did [7]atomic.Int64
	for worker := range many {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for time.Now().Before(end) {
				n := random.IntN(images)
				name := names[n]
				kind := random.IntN(10)
				var r result
				allowed := ""
				switch kind {
				default: // mostly
					kind = 0
					if r = e.run("run", "--rm", "--quiet", name); r.code == 0 && r.stdout != fmt.Sprintf("image %dpair %d", n, n/2) {
						t.Errorf("%s: %q", name, r.stdout)
					}
					allowed = "No such image: | pull it again|no such image" // removed after it was pulled
				case 1:
					r = e.run("pull", "-q", name)
				case 2:
					r = e.run("rmi", name)
					allowed = "No such image: |conflict: "
				case 3:
					r = e.run("rmi", "-f", name)
				case 4:
					r = e.run("image", "prune", "-af")
				case 5:
					r = e.run("images")
				case 6:
					r = e.run("tag", name, fmt.Sprintf("crowd/tag:%d", random.IntN(3)))
					allowed = "No such image: |no such image| pull it again"
				}
				did[kind].Add(1)
				if r.code != 0 && !containsAny(r.stderr, strings.Split(allowed, "|")) {
					t.Errorf("%v", r)
				}
			}
		})
	}
	wait.Wait()
	t.Logf("runs, pulls, removals, forced ones, prunes, lists, tags: %v", &did)
	expect(t, "containers", e.must("ps", "-aq"), "")
	e.must("image", "prune", "-f") // what a busy store put off
	expect(t, "damage or left over", e.must("system", "check", "--deep", "--max", "0s"), "")
	e.sameAsDu("after the crowd")
	e.must("system", "prune", "-af")
	if left := e.sameAsDu("empty")["Images"]; left.RawReclaimable != 0 || left.RawSize > 100<<10 {
		t.Errorf("left: %+v", left)
	}
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if part != "" && strings.Contains(text, part) {
			return true
		}
	}
	return false
}
