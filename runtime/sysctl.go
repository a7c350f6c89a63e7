package runtime

import (
	"slices"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sysctls are written through a procfs of the runtime's own, which no content
// of the container can cover or replace.
func (c *compiler) sysctls() error {
	const field = "linux.sysctl"
	names := make([]string, 0, len(c.spec.Linux.Sysctl))
	for name := range c.spec.Linux.Sysctl {
		if err := c.checkSysctl(name); err != nil {
			return err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var proc launch.Slot
	for _, name := range names {
		value, at, text := c.spec.Linux.Sysctl[name], field+"."+name, "set the sysctl "+name+" to "+c.spec.Linux.Sysctl[name]
		path := sysctlPath(name)
		if path == "kernel/hostname" || path == "kernel/domainname" {
			// The files are the host's root's alone.
			call := launch.Sethostname
			if path == "kernel/domainname" {
				call = launch.Setdomainname
			}
			c.add(launch.Op{Call: call, Args: []launch.Arg{launch.String(value), launch.Int(len(value))}, Text: text, Field: at})
			continue
		}
		if proc == launch.None {
			fs := c.fsopen("proc", "open a private procfs", field)
			proc = c.fsmount(fs, 0, "open a private procfs", field)
		}
		fd := c.p.NewSlot()
		c.add(
			launch.Op{
				Call: launch.Openat2,
				Args: []launch.Arg{launch.Result(proc), launch.String("sys/" + path),
					openHow(unix.O_WRONLY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS), launch.Int(openHowSize)},
				Result: fd, Text: "find the sysctl " + name, Field: at,
			},
			launch.Op{Call: launch.Write, Args: []launch.Arg{launch.Result(fd), launch.String(value), launch.Int(len(value))}, Text: text, Field: at},
		)
	}
	return nil
}

// sysctlPath is the file of a sysctl below /proc/sys. As with sysctl(8) the
// first separator decides which of two forms a name has: in one with dots a
// slash stands for a dot within a part, as in net.ipv4.conf.eth0/1.forwarding;
// in one with slashes a dot is only a dot.
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '/' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// checkSysctl refuses what isn't the container's own: only namespaced sysctls,
// and only with the namespace.
func (c *compiler) checkSysctl(name string) error {
	p := sysctlPath(name)
	field := "linux.sysctl." + name
	for _, part := range strings.Split(p, "/") {
		if part == "" || part == "." || part == ".." {
			return badField(field, "is no name of a sysctl")
		}
	}
	switch {
	case strings.ContainsRune(name+c.spec.Linux.Sysctl[name], 0):
		return badField(field, "contains a NUL byte")
	case p == "kernel/hostname" && c.spec.Hostname != "":
		return badField(field, "contradicts hostname")
	case p == "kernel/domainname" && c.spec.Domainname != "":
		return badField(field, "contradicts domainname")
	}
	need := sysctlNamespace(p)
	if need == "" {
		return badField(field, "belongs to no namespace: it would change the host")
	}
	if !has(c.spec, need) {
		return badField(field, "needs a %s namespace of the container's own, else it would change the host", need)
	}
	return nil
}

// sysctlNamespace is the kind of namespace that has a sysctl of its own, or "".
func sysctlNamespace(p string) specs.LinuxNamespaceType {
	switch {
	case strings.HasPrefix(p, "net/"):
		return specs.NetworkNamespace
	case strings.HasPrefix(p, "fs/mqueue/"), slices.Contains([]string{
		"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"}, p):
		return specs.IPCNamespace
	case p == "kernel/domainname", p == "kernel/hostname":
		return specs.UTSNamespace
	case strings.HasPrefix(p, "user/"):
		return specs.UserNamespace
	}
	return ""
}
