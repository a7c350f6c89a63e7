package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// keepRdt lets a group of a name of its own stay when the container goes.
func (c *Container) keepRdt(r *specs.LinuxIntelRdt) error {
	if r == nil || r.ClosID == "" || !c.state.IntelRdt.Made {
		return nil
	}
	c.state.IntelRdt.Made = false
	return c.saveState()
}

// openRdt opens the files by which a process enters the container's groups;
// the one that shares comes first.
func (s *starting) openRdt(root *os.Root) error {
	g := s.container.state.IntelRdt
	names := []string{path.Join(g.Group, "tasks")}
	if g.Monitor {
		names = append(names, path.Join(s.container.rdtMonitor(), "tasks"))
	}
	for _, name := range names {
		f, err := openRdtFile(root, name)
		if err != nil {
			return badField(rdtField, "%w", err)
		}
		s.keep(rdtInput(s.rdtTasks), f)
		s.rdtTasks++
	}
	return nil
}

// reopenRdt does the same for a process of exec. A group that was taken away
// meanwhile is nothing to enter.
func (s *starting) reopenRdt() error {
	if s.container.state.IntelRdt == nil {
		return nil
	}
	root, err := openResctrl()
	if err != nil {
		return nil
	}
	defer root.Close()
	if err := s.openRdt(root); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func rdtInput(i int) string { return fmt.Sprintf("resctrl tasks %d", i) }

// joinRdt moves the process into the groups.
func (c *compiler) joinRdt() {
	for i := range c.host.RdtTasks {
		c.add(launch.Op{
			Call: launch.Write, Args: []launch.Arg{launch.Input(rdtInput(i)), launch.String("0"), launch.Int(1)},
			Text: "join the resctrl group", Field: rdtField,
		})
	}
}

// compareRdt makes sure that a group that others made shares as config.json
// says.
func compareRdt(root *os.Root, group string, r *specs.LinuxIntelRdt) error {
	if r.ClosID == "" || r.L3CacheSchema+r.MemBwSchema == "" {
		return nil
	}
	text, err := readRdt(root, path.Join(group, "schemata"))
	if err != nil {
		return badField(rdtField+".closID", "%w", err)
	}
	there := map[string]string{}
	for line := range strings.Lines(string(text)) {
		for _, share := range rdtShares(line) {
			there[share[0]] = share[1]
		}
	}
	for _, schema := range []struct{ field, text string }{{"l3CacheSchema", r.L3CacheSchema}, {"memBwSchema", r.MemBwSchema}} {
		for line := range strings.Lines(schema.text) {
			for _, share := range rdtShares(line) {
				if there[share[0]] != share[1] {
					return badField(rdtField+"."+schema.field, "the group %q is there and has %s=%s, not %s", group, share[0], there[share[0]], share[1])
				}
			}
		}
	}
	return nil
}

// rdtShares takes a line such as L3:0=7f0;1=1f apart, into pairs of what is
// shared ("L3:0") and how ("7f0"). How many zeros a number begins with says
// nothing.
func rdtShares(line string) [][2]string {
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
	var shares [][2]string
	for part := range strings.SplitSeq(rest, ";") {
		domain, value, _ := strings.Cut(part, "=")
		value = strings.TrimLeft(strings.ToLower(strings.TrimSpace(value)), "0")
		shares = append(shares, [2]string{kind + ":" + strings.TrimSpace(domain), value})
	}
	return shares
}
