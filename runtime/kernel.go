package runtime

import (
	"encoding/binary"
	"fmt"
	"strconv"

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
	fd, buf, text := c.p.NewSlot(), c.p.NewBuffer(), fmt.Sprintf("set the OOM score to %d", *p.OOMScoreAdj)
	value := strconv.Itoa(*p.OOMScoreAdj)
	c.add(
		launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/proc/self/oom_score_adj"), launch.Flags(unix.O_WRONLY|unix.O_CLOEXEC, "O_WRONLY")},
			Result: fd, Text: text, Field: field,
		},
		launch.Op{Call: launch.Fstatfs, Args: []launch.Arg{launch.Result(fd), buf}, Text: text, Field: field},
		launch.Op{
			Call: launch.Check, Args: []launch.Arg{buf, launch.Int(0), launch.Int(int(unix.EXDEV)), launch.Int(^uint64(0)), launch.Int(unix.PROC_SUPER_MAGIC)},
			Text: text + ": /proc is no procfs", Field: field,
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
