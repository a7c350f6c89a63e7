package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// linux.intelRdt: a group of the resctrl file system, which shares caches and
// memory bandwidth out, and one below it that counts what the container uses.

// rdtGroups is what is kept of them for exec and delete.
type rdtGroups struct {
	Group   string `json:"group"`             // a directory of resctrl, "." for its root
	Made    bool   `json:"made,omitempty"`    // it goes with the container
	Monitor bool   `json:"monitor,omitempty"` // there is a monitoring group of the container's id
}

const (
	rdtField      = "linux.intelRdt"
	rdtMonitoring = "mon_groups"
)

// openResctrl opens the mounted resctrl file system. Tests have one of their
// own: few machines have the hardware.
var openResctrl = func() (*os.Root, error) {
	found, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("resctrl"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("no resctrl file system is mounted: the processor or the kernel lacks it, or 'mount -t resctrl resctrl /sys/fs/resctrl' is missing")
	}
	return os.OpenRoot(found[0].Mountpoint)
}

func validateIntelRdt(r *specs.LinuxIntelRdt) error {
	if r == nil {
		return nil
	}
	switch id := r.ClosID; {
	case id == "" || id == "/":
	case id == "." || id == ".." || id == "info" || strings.HasPrefix(id, "mon_") || strings.ContainsAny(id, "/\n\x00"):
		return badField(rdtField+".closID", "%q is no name of a group", id)
	}
	if r.MemBwSchema != "" && !strings.HasPrefix(r.MemBwSchema, "MB:") {
		return badField(rdtField+".memBwSchema", "%q does not begin with MB:", r.MemBwSchema)
	}
	if strings.Contains(r.MemBwSchema, "\n") {
		return badField(rdtField+".memBwSchema", "has more than one line")
	}
	for i, line := range r.Schemata {
		if strings.Contains(line, "\n") {
			return badField(fmt.Sprintf("%s.schemata[%d]", rdtField, i), "has more than one line")
		}
	}
	return nil
}

// makeRdt makes the container's groups, or finds the one that it shares, and
// opens what gets the process into them.
func (s *starting) makeRdt() error {
	r := s.spec.Linux.IntelRdt
	if r == nil {
		return nil
	}
	root, err := openResctrl()
	if err != nil {
		return badField(rdtField, "%w", err)
	}
	defer root.Close()
	c := s.container
	if err := c.makeRdtGroup(root, r); err != nil {
		return err
	}
	if err := shareRdt(root, c.state.IntelRdt.Group, r); err != nil {
		return err
	}
	if r.EnableMonitoring {
		c.state.IntelRdt.Monitor = true
		if err := c.saveState(); err != nil {
			return err
		}
		if err := root.MkdirAll(c.rdtMonitor(), 0o755); err != nil {
			c.state.IntelRdt.Monitor = false
			return badField(rdtField+".enableMonitoring", "%w%s", err, rdtReason(root))
		}
	}
	return s.openRdt(root)
}

// makeRdtGroup makes the group unless it is there. That it is the container's
// is on record before it exists.
func (c *Container) makeRdtGroup(root *os.Root, r *specs.LinuxIntelRdt) error {
	name, field := r.ClosID, rdtField+".closID"
	switch name {
	case "":
		name, field = c.state.ID, rdtField
	case "/":
		name = "."
	}
	c.state.IntelRdt = &rdtGroups{Group: name}
	_, err := root.Stat(name)
	switch {
	case err == nil:
		return compareRdt(root, name, r)
	case r.ClosID != "" && len(rdtLines(r)) == 0:
		return badField(field, "there is no group %q, and nothing says what it would share", name)
	}
	c.state.IntelRdt.Made = true // until the start has succeeded, also one with a name of its own
	if err := c.saveState(); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		c.state.IntelRdt.Made = false
		return badField(field, "%w%s", err, rdtReason(root))
	}
	return nil
}

// rdtLines is what is written to a group's schemata, in the order that the
// specification wants.
func rdtLines(r *specs.LinuxIntelRdt) []string {
	var lines []string
	for _, l := range append([]string{r.L3CacheSchema, r.MemBwSchema}, r.Schemata...) {
		if l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func shareRdt(root *os.Root, group string, r *specs.LinuxIntelRdt) error {
	lines := rdtLines(r)
	if len(lines) == 0 {
		return nil
	}
	err := writeRdt(root, path.Join(group, "schemata"), strings.Join(lines, "\n")+"\n")
	if err != nil {
		return badField(rdtField+".schemata", "%w%s", err, rdtReason(root))
	}
	return nil
}

func writeRdt(root *os.Root, name, text string) error {
	f, err := openRdtFile(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// openRdtFile opens a file of a group, which the kernel made with it. (In the
// tests' tree it is made here.)
func openRdtFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}

// maxRdtFile bounds what is read of a file of resctrl.
const maxRdtFile = 64 << 10

func readRdt(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRdtFile))
}

// rdtReason is what the kernel says of the last failure.
func rdtReason(root *os.Root) string {
	text, err := readRdt(root, "info/last_cmd_status")
	if text = bytes.TrimSpace(text); err != nil || len(text) == 0 || string(text) == "ok" {
		return ""
	}
	return " (" + strings.Join(strings.Fields(string(text)), " ") + ")"
}

func (c *Container) rdtMonitor() string {
	return path.Join(c.state.IntelRdt.Group, rdtMonitoring, c.state.ID)
}

// removeRdt removes the groups that are the container's. Those that are gone
// already are none.
func (c *Container) removeRdt() error {
	g := c.state.IntelRdt
	if g == nil || !g.Made && !g.Monitor {
		return nil
	}
	root, err := openResctrl()
	if err != nil {
		return nil // unmounted, and the groups with it
	}
	defer root.Close()
	if g.Monitor {
		if err := root.RemoveAll(c.rdtMonitor()); err != nil {
			return err
		}
	}
	if g.Made && g.Group != "." {
		return root.RemoveAll(g.Group)
	}
	return nil
}
