package userns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// WriteNested gives the user namespace of a process all the ids of another, which
// it was made in; mappings are those of the outer one. Only a process of the
// outer namespace may write them, so one goes there; no set-uid helper is asked.
func WriteNested(outer *os.File, pid int, uids, gids []specs.LinuxIDMapping) error {
	p := &launch.Program{}
	p.Add(launch.Op{Call: launch.Setns, Args: []launch.Arg{launch.Input("outer"), launch.Flags(unix.CLONE_NEWUSER, "CLONE_NEWUSER")}, Text: "join the outer user namespace"})
	for _, file := range []struct{ name, text string }{{"gid_map", mapText(same(gids))}, {"uid_map", mapText(same(uids))}} {
		fd, size := p.NewSlot(), int64(len(file.text))
		path := "/proc/" + strconv.Itoa(pid) + "/" + file.name
		p.Add(
			launch.Op{
				Call:   launch.Openat,
				Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(path), launch.Flags(unix.O_WRONLY|unix.O_CLOEXEC, "O_WRONLY|O_CLOEXEC")},
				Result: fd, Text: "open " + path,
			},
			launch.Op{Call: launch.Write, Args: []launch.Arg{launch.Result(fd), launch.String(file.text), launch.Int(size)}, Want: &size, Text: fmt.Sprintf("write %q to %s", file.text, path)},
		)
	}
	return Aside(p, launch.Files{"outer": outer}, nil)
}

// Aside runs a program that ends by itself in a process of its own. each, when
// set, is called with what the program sends, until it ends.
func Aside(p *launch.Program, files launch.Files, each func(*launch.Process) error) error {
	p.Add(launch.Op{Call: launch.Ready, Text: "end"})
	c, err := launch.Start(p, files, nil)
	if err != nil {
		return err
	}
	if each != nil {
		err = each(c)
	}
	if err == nil {
		if _, err = c.Next(); err == nil {
			err = errors.New("the process aside goes on")
		}
	}
	if err != io.EOF {
		c.Abort()
		return err
	}
	defer c.Close()
	_, err = c.Wait()
	return err
}

// same maps the ids of a namespace to themselves.
func same(mappings []specs.LinuxIDMapping) []specs.LinuxIDMapping {
	list := slices.Clone(mappings)
	for i := range list {
		list[i].HostID = list[i].ContainerID
	}
	return list
}
