package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// finish follows a child to its end and returns its exit status.
func finish(t *testing.T, c *Process) syscall.WaitStatus {
	t.Helper()
	defer c.Close()
	if text, err := c.Next(); err != io.EOF {
		c.Abort()
		t.Fatalf("next: %q, %v", text, err)
	}
	status, err := c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// run makes the operations of a shell command with the given standard output.
func shell(command string) []Op {
	return []Op{
		{Call: Dup3, Args: []Arg{Input("out"), Int(1), Int(0)}, Text: "take standard output"},
		{Call: Execve, Args: []Arg{String("/bin/sh"), Strings([]string{"sh", "-c", command}), Strings([]string{"A=b c"})}, Text: "execute /bin/sh"},
	}
}

func output(t *testing.T) (w *os.File, read func() string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, func() string {
		w.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

func TestExec(t *testing.T) {
	out, read := output(t)
	c, err := Start(&Program{Ops: shell(`echo "$A"; exit 7`)}, Files{"out": out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := finish(t, c); status.ExitStatus() != 7 {
		t.Errorf("exit status %v", status)
	}
	if got := read(); got != "b c\n" {
		t.Errorf("output %q", got)
	}
}

func TestResultsAndJumps(t *testing.T) {
	out, read := output(t)
	p := &Program{}
	fd := p.NewSlot()
	write := func(s string) Op {
		return Op{Call: Write, Args: []Arg{Input("out"), String(s), Int(len(s))}, Text: "write"}
	}
	p.Add(
		Op{Call: Openat, Args: []Arg{Int(unix.AT_FDCWD), String("/dev/null"), Int(unix.O_WRONLY)}, Result: fd, Text: "open", Skip: 1},
		write("not reached"),
		Op{Call: Write, Args: []Arg{Result(fd), String("x"), Int(1)}, Text: "write to the result"},
		Op{Call: Openat, Args: []Arg{Int(unix.AT_FDCWD), String("/does/not/exist"), Int(0)}, Text: "open what is missing",
			Accept: []Accept{{Errno: unix.ENOENT, Skip: 1}}},
		write("not reached either"),
		write("reached "),
	)
	p.Add(shell("echo end")...)
	c, err := Start(p, Files{"out": out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, c)
	if got := read(); got != "reached end\n" {
		t.Errorf("output %q", got)
	}
}

func TestFailureNamesOperationAndCause(t *testing.T) {
	c, err := Start(&Program{Ops: []Op{
		{Call: Umask, Args: []Arg{Int(0)}},
		{Call: Openat, Args: []Arg{Int(unix.AT_FDCWD), String("/does/not/exist"), Int(0)}, Text: "open /does/not/exist", Field: "mounts[3]"},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Next()
	c.Abort()
	if !errors.Is(err, unix.ENOENT) || err.Error() != "open /does/not/exist: no such file or directory (config.json: mounts[3])" {
		t.Errorf("error %v", err)
	}
}

func TestAwaitHandsOverDescriptors(t *testing.T) {
	out, read := output(t)
	p := &Program{}
	p.Add(Op{Call: Announce, Text: "ready"})
	got := p.Await("wait for the parent", 2)
	p.Add(
		Op{Call: Write, Args: []Arg{Result(got[0]), String("first "), Int(6)}, Text: "write to the first"},
		Op{Call: Write, Args: []Arg{Result(got[1]), String("second "), Int(7)}, Text: "write to the second"},
	)
	p.Add(shell("echo end")...)
	c, err := Start(p, Files{"out": out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := c.Next(); err != nil || text != "ready" {
		t.Fatalf("next: %q, %v", text, err)
	}
	if err := c.Send(out, out); err != nil {
		t.Fatal(err)
	}
	finish(t, c)
	if got := read(); got != "first second end\n" {
		t.Errorf("output %q", got)
	}
}

func TestParentThatGivesUpEndsTheChild(t *testing.T) {
	p := &Program{}
	p.Await("wait for the parent", 0)
	p.Add(shell("echo never")...)
	out, read := output(t)
	c, err := Start(p, Files{"out": out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Detach()
	status, err := c.Wait()
	if err != nil || status.ExitStatus() != 255 {
		t.Errorf("status %v, %v", status, err)
	}
	if got := read(); got != "" {
		t.Errorf("output %q", got)
	}
}

func TestCheck(t *testing.T) {
	const procMagic = 0x9fa0
	for path, want := range map[string]error{"/proc": io.EOF, "/": unix.EXDEV} {
		p := &Program{}
		fd, buf := p.NewSlot(), p.NewBuffer()
		p.Add(
			Op{Call: Openat, Args: []Arg{Int(unix.AT_FDCWD), String(path), Int(unix.O_PATH)}, Result: fd, Text: "open"},
			Op{Call: Fstatfs, Args: []Arg{Result(fd), buf}, Text: "statfs"},
			Op{Call: Check, Args: []Arg{buf, Int(0), Int(int(unix.EXDEV)), Int(^uint64(0)), Int(procMagic)}, Text: "is it procfs"},
		)
		p.Add(shell("true")...)
		out, _ := output(t)
		c, err := Start(p, Files{"out": out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		c.Abort()
	}
}

func TestForkEntersAPidNamespace(t *testing.T) {
	out, read := output(t)
	p := &Program{Namespaces: unix.CLONE_NEWUSER}
	p.Add(Op{Call: Fork, Args: []Arg{Int(unix.CLONE_NEWPID)}, Text: "go on in a second process"})
	p.Add(shell("echo $$")...)
	c, err := Start(p, Files{"out": out}, nil)
	if err != nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	first := c.Pid()
	if status := finish(t, c); status.ExitStatus() != 0 {
		t.Errorf("status %v", status)
	}
	if c.Pid() == first {
		t.Error("the process is still the first child")
	}
	if got := read(); got != "1\n" {
		t.Errorf("the shell saw itself as process %q", got)
	}
}

// A process aside does its steps, the one that made it leaves them out and
// learns how it ended.
func TestSpawn(t *testing.T) {
	for _, code := range []int{0, 3} {
		out, read := output(t)
		p := &Program{}
		pid, status := p.NewSlot(), p.NewBuffer()
		at := p.Add(Op{Call: Spawn, Result: pid, Text: "go aside"})
		p.Add(shell(fmt.Sprintf("echo aside; exit %d", code))...)
		p.Ops[at].Skip = len(p.Ops) - at - 1
		p.Add(
			Op{Call: Wait4, Args: []Arg{Result(pid), status, Int(0), Int(0)}, Text: "wait"},
			Op{Call: Check, Args: []Arg{status, Int(0), Int(int(unix.ECANCELED)), Int(1<<32 - 1), Int(code << 8)}, Text: "look at the status"},
		)
		p.Add(shell("echo end")...)
		c, err := Start(p, Files{"out": out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		finish(t, c)
		if got := read(); got != "aside\nend\n" {
			t.Errorf("output %q", got)
		}
	}
}

// What fails aside is a failure of the program.
func TestSpawnFails(t *testing.T) {
	p := &Program{}
	p.Add(
		Op{Call: Spawn, Skip: 1, Text: "go aside"},
		Op{Call: Execve, Args: []Arg{String("/does/not/exist"), Strings([]string{"x"}), Strings(nil)}, Text: "execute nothing"},
		Op{Call: Recvmsg, Args: []Arg{Input(Parent), Words(Int(0), Int(0), Int(0), Int(0), Int(0), Int(0), Int(0))}, Text: "wait for the parent"},
	)
	c, err := Start(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Next()
	c.Abort()
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v", err)
	}
}

func TestStartLeaksNoDescriptor(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	out, _ := output(t)
	before := count()
	for range 50 {
		c, err := Start(&Program{Ops: shell("true")}, Files{"out": out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		finish(t, c)
		c, err = Start(&Program{Ops: []Op{{Call: Close, Args: []Arg{Int(-1)}, Text: "fail"}}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Next()
		c.Abort()
		if _, err := Start(&Program{Ops: []Op{{Call: Close, Args: []Arg{Input("missing")}}}}, nil, nil); err == nil {
			t.Fatal("a program without its descriptor was started")
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestAssembleRefusesNonsense(t *testing.T) {
	for name, p := range map[string]*Program{
		"empty":              {},
		"jump out":           {Ops: []Op{{Call: Close, Skip: 1}}},
		"accepted jump out":  {Ops: []Op{{Call: Close, Accept: []Accept{{unix.EBADF, 9}}}}},
		"unknown result":     {Ops: []Op{{Call: Close, Args: []Arg{Result(4)}}}},
		"result in a struct": {Ops: []Op{{Call: Close, Args: []Arg{Words(Result(9))}}}},
		"NUL in a string":    {Ops: []Op{{Call: Close, Args: []Arg{String("a\x00b")}}}},
		"NUL in a list":      {Ops: []Op{{Call: Close, Args: []Arg{Strings([]string{"a\x00b"})}}}},
		"unknown input":      {Ops: []Op{{Call: Close, Args: []Arg{Input("x")}}}},
	} {
		if _, err := assemble(p, nil); err == nil {
			t.Errorf("%s: assembled", name)
		}
	}
}

func TestPrint(t *testing.T) {
	p := &Program{Namespaces: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	fd := p.NewSlot()
	p.Add(
		Op{Call: Openat, Args: []Arg{Int(unix.AT_FDCWD), String("a\n"), Flags(unix.O_PATH, "O_PATH")}, Result: fd, Text: "open a", Field: "mounts[0]",
			Accept: []Accept{{unix.ENOENT, 1}}},
		Op{Call: Fchdir, Args: []Arg{Result(fd)}, Text: "go there"},
		Op{Call: Close, Args: []Arg{Input("rootfs")}},
	)
	want := strings.Join([]string{
		`clone pid mount`,
		`  0  $1 = openat(-100, "a\n", O_PATH) ENOENT:+1  # open a [mounts[0]]`,
		`  1  fchdir($1)  # go there`,
		`  2  close(@rootfs)`,
		``}, "\n")
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func BenchmarkStart(b *testing.B) {
	out, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	p := &Program{Ops: []Op{
		{Call: Execve, Args: []Arg{String("/bin/true"), Strings([]string{"true"}), Strings(nil)}},
	}}
	for b.Loop() {
		c, err := Start(p, Files{"out": out}, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Next(); err != io.EOF {
			b.Fatal(err)
		}
		c.Wait()
		c.Close()
	}
}

// A child keeps what it was given and nothing else: with a copy of a sibling's
// socket it would keep the sibling from seeing that their parent is gone.
func TestChildClosesForeignDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &Program{}
	p.Add(Op{Call: Announce, Text: "ready"})
	p.Await("wait", 0)
	c, err := Start(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if text, err := c.Next(); err != nil || text != "ready" {
		t.Fatalf("next: %q, %v", text, err)
	}
	w.Close() // ours was the last but for the child's
	r.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the waiting child holds the pipe open: %v", err)
	}
}

func TestForeign(t *testing.T) {
	const end = uintptr(^uint32(0))
	for _, test := range []struct {
		inputs   map[string]int
		preserve int
		want     []fdRange
	}{
		{nil, 0, []fdRange{{3, end}}},
		{map[string]int{"a": 1, "b": 3, "c": 4, "d": 9}, 0, []fdRange{{5, 8}, {10, end}}},
		{map[string]int{"a": 7, "b": 7}, 2, []fdRange{{5, 6}, {8, end}}},
	} {
		if got := foreign(test.inputs, test.preserve); !slices.Equal(got, test.want) {
			t.Errorf("%v, %d: %v, want %v", test.inputs, test.preserve, got, test.want)
		}
	}
}
