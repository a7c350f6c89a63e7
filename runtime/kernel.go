package runtime

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// kernelSettings compiles the host name, the domain name and the sysctls.
func (c *compiler) kernelSettings() error {
	if name := c.spec.Hostname; name != "" {
		c.add(launch.Op{Call: launch.Sethostname, Args: []launch.Arg{launch.String(name), launch.Int(len(name))}, Text: "set the host name", Field: "hostname"})
	}
	if name := c.spec.Domainname; name != "" {
		c.add(launch.Op{Call: launch.Setdomainname, Args: []launch.Arg{launch.String(name), launch.Int(len(name))}, Text: "set the domain name", Field: "domainname"})
	}
	return c.sysctls()
}

// sysctls are written through a procfs of the runtime's own, which no content
// of the container can cover or replace.
func (c *compiler) sysctls() error {
	if len(c.spec.Linux.Sysctl) == 0 {
		return nil
	}
	const field = "linux.sysctl"
	fs := c.fsopen("proc", "open a private procfs", field)
	proc := c.fsmount(fs, 0, "open a private procfs", field)
	names := make([]string, 0, len(c.spec.Linux.Sysctl))
	for name := range c.spec.Linux.Sysctl {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.checkSysctl(name); err != nil {
			return err
		}
		value := c.spec.Linux.Sysctl[name]
		fd := c.p.NewSlot()
		at := field + "." + name
		c.add(
			launch.Op{
				Call: launch.Openat2,
				Args: []launch.Arg{launch.Result(proc), launch.String("sys/" + sysctlPath(name)),
					openHow(unix.O_WRONLY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS), launch.Int(openHowSize)},
				Result: fd, Text: "find the sysctl " + name, Field: at,
			},
			launch.Op{Call: launch.Write, Args: []launch.Arg{launch.Result(fd), launch.String(value), launch.Int(len(value))}, Text: "set the sysctl " + name + " to " + value, Field: at},
		)
	}
	return nil
}

// sysctlPath turns the dots of a name into slashes; a name that has slashes
// already may have dots in its parts, as in net/ipv4/conf/eth0.1/forwarding.
func sysctlPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return strings.ReplaceAll(name, ".", "/")
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

// loopback brings the lo interface of a new network namespace up.
func (c *compiler) loopback() {
	if !fresh(c.spec, specs.NetworkNamespace) {
		return
	}
	socket := c.p.NewSlot()
	request := make([]byte, 40) // struct ifreq
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[16:], unix.IFF_UP|unix.IFF_RUNNING)
	c.add(
		launch.Op{Call: launch.Socket, Args: []launch.Arg{launch.Flags(unix.AF_INET, "AF_INET"), launch.Flags(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM"), launch.Int(0)}, Result: socket, Text: "bring the loopback interface up"},
		launch.Op{Call: launch.Ioctl, Args: []launch.Arg{launch.Result(socket), launch.Flags(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"), launch.Bytes(request)}, Text: "bring the loopback interface up"},
	)
}

// oomScore is set before anything else, while /proc is the caller's. A process
// in a new user namespace has no right to lower its score; its parent does it.
func (c *compiler) oomScore(p *specs.Process, byItself bool) {
	if p.OOMScoreAdj == nil || !byItself {
		return
	}
	const field = "process.oomScoreAdj"
	fd, text := c.p.NewSlot(), fmt.Sprintf("set the OOM score to %d", *p.OOMScoreAdj)
	value := strconv.Itoa(*p.OOMScoreAdj)
	c.add(
		launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/proc/self/oom_score_adj"), launch.Flags(unix.O_WRONLY|unix.O_CLOEXEC, "O_WRONLY")},
			Result: fd, Text: text, Field: field,
		},
		launch.Op{Call: launch.Write, Args: []launch.Arg{launch.Result(fd), launch.String(value), launch.Int(len(value))}, Text: text, Field: field},
		launch.Op{Call: launch.Close, Args: []launch.Arg{launch.Result(fd)}, Text: text, Field: field},
	)
}

func (c *compiler) personality(p *specs.LinuxPersonality) {
	const linux32 = 8
	if p == nil {
		return
	}
	domain, name := 0, "PER_LINUX"
	if p.Domain == specs.PerLinux32 {
		domain, name = linux32, "PER_LINUX32"
	}
	c.add(launch.Op{Call: launch.Personality, Args: []launch.Arg{launch.Flags(domain, name)}, Text: "set the execution domain", Field: "linux.personality.domain"})
}
