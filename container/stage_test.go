package container

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/monitor"
	"loper.run/network"
)

// stageMain makes, starts and removes a container named c, to be killed at any
// moment of it.
func stageMain(dir string) {
	e, err := Open(filepath.Join(dir, "root"), filepath.Join(dir, "run"))
	if err != nil {
		os.Exit(1)
	}
	e.DefaultNetwork = network.None
	img, err := e.Images.Resolve(os.Getenv("LOPER_TEST_IMAGE"))
	if err != nil {
		os.Exit(2)
	}
	s := Settings{Name: "c", Command: []string{"sleep", "1000"}, Mounts: []Mount{{Type: MountVolume, Target: "/home"}}, AutoRemove: os.Getenv("LOPER_TEST_RM") != ""}
	c, err := e.Create(context.Background(), s, img)
	if err != nil {
		os.Exit(3)
	}
	if c.Start(StartOptions{}) != nil {
		os.Exit(4)
	}
	if c.Rename("d") != nil || c.Rename("c") != nil {
		os.Exit(5)
	}
	if c.Remove(RemoveOptions{Force: true, Volumes: true}) != nil {
		os.Exit(6)
	}
	os.Exit(0)
}

// Whatever moment a command is killed at, the next tells the truth, the name
// can be taken again, and nothing is left when all is removed.
func TestKilledAtEveryStage(t *testing.T) {
	e := newEngine(t)
	stages := 60
	if testing.Short() {
		stages = 10
	}
	check := untouched(e)
	command := func(rm bool) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "LOPER_TEST_STAGE="+filepath.Dir(e.Root), "LOPER_TEST_IMAGE="+e.img.Names[0])
		if rm {
			cmd.Env = append(cmd.Env, "LOPER_TEST_RM=1")
		}
		return cmd
	}
	begun := time.Now()
	if out, err := command(false).CombinedOutput(); err != nil {
		t.Fatalf("unharmed: %v %s", err, out)
	}
	whole := time.Since(begun)
	for i := range stages {
		cmd := command(i%2 == 0)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole * time.Duration(i) / time.Duration(stages))
		cmd.Process.Kill()
		cmd.Wait()
		list, err := e.List()
		if err != nil {
			t.Fatalf("stage %d: %v", i, err)
		}
		for _, c := range list {
			e.ids = append(e.ids, c.ID)
			st, err := c.Status()
			if errors.Is(err, ErrNotFound) {
				continue // a --rm container that has just gone
			}
			if err != nil {
				t.Fatalf("stage %d: %v", i, err)
			}
			if st.Alive() && syscall.Kill(st.Pid, 0) != nil {
				// It may have ended between the two looks.
				if again, err := c.Status(); err == nil && again.Alive() {
					t.Errorf("stage %d: %+v, but there is no such process", i, again)
				}
			}
			if found, err := e.Find(c.Name); err == nil && found.ID != c.ID {
				t.Errorf("stage %d: name %s leads to %s, not %s", i, c.Name, found.ID, c.ID)
			}
			if err := c.Remove(RemoveOptions{Force: true, Volumes: true}); err != nil {
				t.Fatalf("stage %d: %v", i, err)
			}
		}
		// A monitor that was just starting when its starter died may come later.
		c, err := e.Create(t.Context(), Settings{Name: "c", Command: []string{"true"}}, e.img)
		if err != nil {
			t.Fatalf("stage %d: %v", i, err)
		}
		e.ids = append(e.ids, c.ID)
		if err := c.Remove(RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.List(); err != nil {
			t.Fatal(err)
		}
		if volumes, err := e.VolumeList(); err != nil || len(volumes) > 0 {
			t.Fatalf("stage %d: volumes left: %+v %v", i, volumes, err)
		}
	}
	check()
}

func TestRepair(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	gone := newID()

	// A directory without a record, whose maker is dead, with its claims.
	half := newID()
	if err := os.MkdirAll(e.path(containerDir, half, upperDir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, key := range map[string]string{nameDir: "taken", idRangeDir: "0"} {
		if _, err := e.take(dir, key, half); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"lost", "lost2"} {
		if _, err := e.take(nameDir, key, gone); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Find("lost"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := os.Lstat(e.path(nameDir, "lost")); err == nil {
		t.Error("a name that points nowhere was not freed")
	}
	c := e.create(Settings{Name: "taken", Command: []string{"true"}})
	if _, err := os.Lstat(e.path(containerDir, half)); err == nil {
		t.Error("the half-made container is still there")
	}
	if _, err := e.Create(t.Context(), Settings{Name: "taken", Command: []string{"true"}}, e.img); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a taken name: %v", err)
	}

	// One whose maker lives is left alone.
	d, err := e.makeDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.take(nameDir, "making", d.id); err != nil {
		t.Fatal(err)
	}
	if _, err := e.List(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Find(d.id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if owner, err := e.owner(nameDir, "making"); err != nil || owner != d.id {
		t.Errorf("a name was taken from who makes its container: %v", err)
	}
	if _, err := e.takeName("making", gone); !errors.Is(err, ErrNameTaken) {
		t.Errorf("%v", err)
	}
	d.Close()

	// A removal that was begun.
	if err := os.Rename(c.file(recordFile), c.file(removingFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Find("taken"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// A removal that got as far as the record.
	c = e.create(Settings{Name: "taken", Command: []string{"true"}})
	if err := os.Remove(c.file(recordFile)); err != nil {
		t.Fatal(err)
	}
	if list, err := e.List(); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	// A record that was lost with the power, and one that is damaged.
	c = e.create(Settings{Name: "taken", Command: []string{"true"}})
	if err := os.Truncate(c.file(recordFile), 0); err != nil {
		t.Fatal(err)
	}
	if list, err := e.List(); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	c = e.create(Settings{Name: "taken", Command: []string{"true"}})
	if err := os.Truncate(c.file(recordFile), 10); err != nil {
		t.Fatal(err)
	}
	list, err := e.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if st, err := list[0].Status(); err != nil || st.State != Dead || st.Error == "" {
		t.Errorf("%+v, %v", st, err)
	}
	if err := list[0].Start(StartOptions{}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged container starts: %v", err)
	}
	if _, err := e.take(nameDir, "taken", gone); err == nil {
		t.Error("the name of a damaged container was given away")
	}
	if err := list[0].Remove(RemoveOptions{}); err != nil {
		t.Error(err)
	}
	if list, err := e.List(); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	// A renaming that was killed before and after the record.
	c = e.create(Settings{Name: "old", Command: []string{"true"}})
	if _, err := e.take(nameDir, "new", c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Find("new"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	c.Record.Name = "newer"
	if _, err := e.take(nameDir, "newer", c.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if found, err := e.Find("newer"); err != nil || found.ID != c.ID {
		t.Error(err)
	}
	if _, err := e.List(); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(e.path(nameDir)); len(names) != 1 {
		t.Errorf("names %v", names)
	}
	if err := c.Remove(RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	check()
}

// A container whose monitor is killed is dead, and the next command says so
// and leaves nothing of it behind.
func TestMonitorKilled(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	for _, both := range []bool{false, true} {
		c := e.start(Settings{Command: []string{"sh", "-c", "sleep 1000 & sleep 1000"}})
		st, err := monitor.ReadState(c.RunDir())
		if err != nil {
			t.Fatal(err)
		}
		if both {
			syscall.Kill(st.Pid, syscall.SIGKILL)
		}
		syscall.Kill(st.Monitor, syscall.SIGKILL)
		if code := e.wait(c); code != 137 {
			t.Errorf("exit code %d", code)
		}
		if st := e.status(c); st.State != Exited || st.ExitCode != 137 || st.StartedAt.IsZero() || st.FinishedAt.IsZero() {
			t.Errorf("%+v", st)
		}
		if err := c.Start(StartOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Remove(RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	check()
}

// Many at once: names and ranges are each one's own, and all end clean.
func TestManyAtOnce(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	const n = 24
	var mu sync.Mutex
	var ranges []int
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			name := ""
			if i%2 == 0 {
				name = "n" + strconv.Itoa(i)
			}
			c, err := e.Create(t.Context(), Settings{Name: name, Command: []string{"sh", "-c", "exit " + strconv.Itoa(i)}}, e.img)
			if err == nil {
				mu.Lock()
				ranges, e.ids = append(ranges, c.Range), append(e.ids, c.ID)
				mu.Unlock()
				err = c.Start(StartOptions{})
			}
			if err == nil {
				var code int
				if code, err = c.Wait(t.Context()); code != i {
					t.Errorf("exit code %d, want %d", code, i)
				}
			}
			if err == nil {
				err = c.Remove(RemoveOptions{Force: i%3 == 0})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	slices.Sort(ranges)
	if len(ranges) != n || ranges[0] < 0 {
		t.Errorf("ranges %v", ranges)
	}
	check()
}

// Two commands that remove the same container, and one that makes another of
// its name, do not disturb each other.
func TestRemoveRace(t *testing.T) {
	e := newEngine(t)
	for range 20 {
		c := e.create(Settings{Name: "same", Command: []string{"true"}})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := c.copy().Remove(RemoveOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		made := make(chan *Container, 1)
		all.Go(func() {
			for {
				c, err := e.Create(context.Background(), Settings{Name: "same", Command: []string{"true"}}, e.img)
				if err == nil {
					made <- c
					return
				}
				if !errors.Is(err, ErrNameTaken) {
					t.Error(err)
					made <- nil
					return
				}
			}
		})
		all.Wait()
		second := <-made
		if second == nil {
			return
		}
		if found, err := e.Find("same"); err != nil || found.ID != second.ID {
			t.Fatalf("the new owner of the name lost it: %v", err)
		}
		if err := second.Remove(RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *Container) copy() *Container {
	other := *c
	return &other
}

func TestLockedOut(t *testing.T) {
	e := newEngine(t)
	c := e.create(Settings{Command: []string{"true"}})
	d, err := e.lockDir(c.ID, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Start(StartOptions{}) }()
	select {
	case err := <-done:
		t.Errorf("started while locked: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	d.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	e.wait(c)
}
