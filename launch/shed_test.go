package launch

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that sheds runs from the other file and refers to its parent's no
// more, and goes on with its program: through a second child as well.
func TestShed(t *testing.T) {
	if !CanShed() {
		t.Skip("this kernel lets no process change what it runs from (CONFIG_CHECKPOINT_RESTORE)")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: CAP_CHECKPOINT_RESTORE")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, code, 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, forks := range []bool{false, true} {
		t.Run(fmt.Sprintf("forks=%t", forks), func(t *testing.T) {
			out, read := output(t)
			p := &Program{}
			p.Add(Op{Call: Shed, Args: []Arg{Input("self")}, Text: "shed"})
			if forks {
				p.Add(Op{Call: Fork, Args: []Arg{Int(0)}, Text: "fork"})
			}
			p.Add(Op{Call: Announce, Text: "look"})
			p.Await("wait", 0)
			p.Add(shell("echo done")...)
			c, err := Start(p, Files{"out": out, "self": other}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := c.Next(); err != nil || text != "look" {
				c.Abort()
				t.Fatalf("%q, %v", text, err)
			}
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.Pid())); err != nil || exe != copied {
				t.Errorf("it runs from %s, %v", exe, err)
			}
			maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.Pid()))
			if err != nil || strings.Contains(string(maps), self) || !strings.Contains(string(maps), copied) {
				t.Errorf("its memory refers to %s:\n%s%v", self, maps, err)
			}
			if err := c.Send(); err != nil {
				t.Fatal(err)
			}
			if status := finish(t, c); status.ExitStatus() != 0 {
				t.Errorf("exit status %v", status)
			}
			if got := read(); got != "done\n" {
				t.Errorf("output %q", got)
			}
		})
	}
}

func TestShedNeedsAnotherFile(t *testing.T) {
	if !CanShed() {
		t.Skip("this kernel lets no process change what it runs from (CONFIG_CHECKPOINT_RESTORE)")
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	p := &Program{Ops: []Op{{Call: Shed, Args: []Arg{Input("self")}, Text: "shed"}}}
	c, err := Start(p, Files{"self": self}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if _, err := c.Next(); err == nil || err == io.EOF || !strings.Contains(err.Error(), unix.EBUSY.Error()) {
		t.Errorf("shedding for the same file: %v", err)
	}
}

func TestFileMappings(t *testing.T) {
	const maps = `00400000-005c8000 r-xp 00000000 08:01 42    /bin/a b
005c8000-007b1000 r--p 001c8000 08:01 42    /bin/a b
007b1000-007c9000 rw-p 003b1000 08:01 42    /bin/a b
007c9000-007ff000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r--p 00000000 08:01 43    /lib/x
`
	got, err := fileMappings([]byte(maps), 0x400123)
	want := "[{4194304 1867776 5 0} {6062080 2002944 1 1867776} {8065024 98304 0 3870720}]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := fileMappings([]byte(maps), 0x10); err == nil {
		t.Errorf("code that is in no mapping: %v", got)
	}
}

func FuzzMM(f *testing.F) {
	f.Add([]byte("1 (a) b) S 1"), []byte("0-1 r-xp 0 0:0 1 x"))
	f.Fuzz(func(t *testing.T, stat, maps []byte) {
		_, _ = parseMM(stat)
		_, _ = fileMappings(maps, 0)
	})
}
