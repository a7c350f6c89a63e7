package container

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/user"
)

// Processes is a table of a container's processes.
type Processes struct {
	Titles    []string
	Processes [][]string
}

// psFormats are the columns of ps's usual options.
func psFormat(args []string) ([]column, error) {
	switch strings.TrimLeft(strings.Join(args, " "), "-") {
	case "", "ef", "eaf", "aef":
		return columns("user,pid,ppid,c,stime,tty,time,args")
	case "aux", "u":
		return columns("user,pid,vsz,rss,tty,stat,stime,time,args")
	}
	var names []string
	for i := 0; i < len(args); i++ {
		value, ok := strings.CutPrefix(args[i], "-o")
		switch {
		case ok && value != "":
			names = append(names, value)
		case ok && i+1 < len(args):
			i++
			names = append(names, args[i])
		case args[i] == "-e":
		default:
			return nil, fmt.Errorf("unknown ps option %q: -ef, aux and -o COLUMN,… are known", args[i])
		}
	}
	return columns(strings.Join(names, ","))
}

// column is one of ps's, of a process as /proc shows it.
type column struct {
	name, title string
	value       func(p *proc) string
}

func columns(names string) ([]column, error) {
	known := []column{
		{"user", "USER", func(p *proc) string { return p.user }},
		{"uid", "UID", func(p *proc) string { return strconv.Itoa(p.uid) }},
		{"pid", "PID", func(p *proc) string { return strconv.Itoa(p.pid) }},
		{"ppid", "PPID", func(p *proc) string { return p.stat[1] }},
		{"c", "C", func(p *proc) string { return strconv.Itoa(p.percent()) }},
		{"pcpu", "%CPU", func(p *proc) string { return strconv.Itoa(p.percent()) }},
		{"stime", "STIME", func(p *proc) string { return p.started.Format(p.startFormat()) }},
		{"etime", "ELAPSED", func(p *proc) string { return clock(time.Since(p.started)) }},
		{"tty", "TTY", (*proc).tty},
		{"time", "TIME", func(p *proc) string { return clock(p.used) }},
		{"vsz", "VSZ", func(p *proc) string { return strconv.Itoa(p.number(20) / 1024) }},
		{"rss", "RSS", func(p *proc) string { return strconv.Itoa(p.number(21) * os.Getpagesize() / 1024) }},
		{"stat", "STAT", func(p *proc) string { return p.stat[0] }},
		{"comm", "COMMAND", func(p *proc) string { return p.comm }},
		{"args", "CMD", func(p *proc) string { return p.args }},
	}
	var list []column
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "cmd", "command":
			name = "args"
		case "tt", "tname":
			name = "tty"
		case "state", "s":
			name = "stat"
		}
		i := slices.IndexFunc(known, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown ps column %q", name)
		}
		list = append(list, known[i])
	}
	return list, nil
}

// Top lists the processes of a running container with the host's numbers, as
// ps with these options would ("" for -ef); no program of the host or of the
// container is run for it.
func (c *Container) Top(args []string) (Processes, error) {
	var t Processes
	list, err := psFormat(args)
	if err != nil {
		return t, err
	}
	rc, err := c.loadRuntime()
	if err != nil {
		return t, err
	}
	pids, err := rc.Pids()
	if err != nil {
		return t, err
	}
	for _, col := range list {
		t.Titles = append(t.Titles, col.title)
	}
	if len(args) == 0 || strings.TrimLeft(args[0], "-") == "ef" {
		t.Titles[0] = "UID"
	}
	names := hostUsers()
	for _, pid := range pids {
		p, err := readProc(pid, names)
		if err != nil {
			continue // it has ended
		}
		var row []string
		for _, col := range list {
			row = append(row, col.value(p))
		}
		t.Processes = append(t.Processes, row)
	}
	return t, nil
}

// hostUsers maps the host's user ids to names.
func hostUsers() map[int]string {
	list, err := user.ParsePasswdFile("/etc/passwd")
	if err != nil {
		return nil
	}
	names := make(map[int]string, len(list))
	for _, u := range list {
		if names[u.Uid] == "" {
			names[u.Uid] = u.Name
		}
	}
	return names
}
