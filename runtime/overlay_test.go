package runtime

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// layers makes n layers above the root file system of a bundle; each has a
// file of its own and replaces one of the layer below.
func layers(t *testing.T, o *Options, n int) *Overlay {
	t.Helper()
	overlay := &Overlay{Lower: []string{o.Spec.Root.Path}, Upper: filepath.Join(o.Bundle, "upper"), Work: filepath.Join(o.Bundle, "work")}
	for i := range n {
		dir := filepath.Join(o.Bundle, strings.Repeat("long", 20), fmt.Sprint(i))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "top"), []byte(fmt.Sprint(i)), 0o644))
		overlay.Lower = append(overlay.Lower, dir)
	}
	for _, dir := range []string{overlay.Upper, overlay.Work} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	return overlay
}

// Older kernels want names for the layers. Both ways give the same root.
func TestOverlayByNames(t *testing.T) {
	before := hostState(t)
	for _, byNames := range []bool{false, true} {
		overlayByNames.Store(byNames)
		t.Cleanup(func() { overlayByNames.Store(false) })
		o := bundle(t, "sh", "-c", "cat /top; stat -c :%u /bin/busybox; touch /new")
		o.Overlay = layers(t, &o, 60)
		for _, dir := range []string{o.Overlay.Upper, o.Overlay.Work} {
			must(t, os.Chown(dir, 1879048192, 1879048192))
		}
		mappedUser(&o)
		if out, _ := capture(t, o); out != "59:0\n" {
			t.Errorf("by names %v: output %q", byNames, out)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(o.Overlay.Upper, "new"), &st); err != nil || st.Uid != 1879048192 {
			t.Errorf("by names %v: the new file: %v, owner %d", byNames, err, st.Uid)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// Without rights on the host the child makes the overlay; when the kernel
// refuses one way it takes the other.
func TestOverlayInTheChild(t *testing.T) {
	for name, change := range map[string]func(c *compiler, first int){
		"directly": func(*compiler, int) {},
		"by names": func(c *compiler, _ int) { c.host.OverlayByNames = true },
		"refused": func(c *compiler, first int) {
			for i := range c.p.Ops[first:] {
				op := &c.p.Ops[first+i]
				if strings.HasPrefix(op.Text, "overlay lowerdir+") {
					op.Args[0] = launch.Int(-1)
					for j := range op.Accept {
						op.Accept[j].Errno = unix.EINVAL // fsconfig says so of a number below 0
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := bundle(t, "true")
			overlay := layers(t, &o, 3)
			c := &compiler{p: &launch.Program{Namespaces: unix.CLONE_NEWNS}, spec: &specs.Spec{Linux: &specs.Linux{}, Root: &specs.Root{}}}
			if name == "by names" {
				change(c, 0)
			}
			c.stopPropagation()
			first := len(c.p.Ops)
			c.set.Overlay = overlay
			c.mountRoot()
			if name != "by names" {
				change(c, first)
			}
			c.pivot()
			c.add(
				launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input("out"), launch.Int(1), launch.Int(0)}, Text: "take stdout"},
				launch.Op{Call: launch.Execve, Args: []launch.Arg{launch.String("/bin/sh"), launch.Strings([]string{"sh", "-c", "cat /top; pwd"}), launch.Strings(nil)}, Text: "execute"},
			)
			r, w, err := os.Pipe()
			must(t, err)
			p, err := launch.Start(c.p, launch.Files{"out": w}, nil)
			w.Close()
			must(t, err)
			if _, err := p.Next(); err != io.EOF {
				p.Abort()
				t.Fatal(err)
			}
			out, err := io.ReadAll(r)
			must(t, err)
			p.Wait()
			p.Close()
			if string(out) != "2/\n" {
				t.Errorf("output %q", out)
			}
		})
	}
}
