package usernet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
	"loper.run/internal/proc"
)

// pastaFile has pasta's process id. Its path is in pasta's arguments, by which a
// pasta of ours is told from all other processes.
const pastaFile = "pasta.pid"

// WayOut is the interface of the user's network namespace that leads out.
const WayOut = "out"

// patience is how long pasta may take to start: others wait for it.
const patience = 10 * time.Second

// startPasta gives the network namespace a way out by pasta, which copies the
// host's addresses and routes to an interface there.
func (d *dir) startPasta(program string, s *Space) error {
	stay, err := netns.Stay(s.Net)
	if err != nil {
		return err
	}
	defer stay.Abort()
	ns := "/proc/" + strconv.Itoa(stay.Pid()) + "/ns/"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, "--config-net", "--quiet", "--ns-ifname", WayOut,
		"--no-map-gw",                                          // the host's loopback is nobody's
		"-t", "none", "-u", "none", "-T", "none", "-U", "none", // ports are published elsewhere
		"--no-dhcp", "--no-dhcpv6", "--no-ra", // the interface is set up already
		"--no-netns-quit", "--pid", d.file(pastaFile), // it ends when the last container says so
		"--userns", ns+"user", "--netns", ns+"net")
	var text bytes.Buffer
	c.Stderr = &text
	c.Dir, c.WaitDelay = "/", time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL} // until it is a process of its own
	// It goes on in the background once the interface is there.
	if err := c.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		return fmt.Errorf("pasta: %w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// pasta is the pasta that was started here, if it lives.
func (d *dir) pasta() (proc.ID, bool) {
	path := d.file(pastaFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return proc.ID{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return proc.ID{}, false
	}
	id, err := proc.Find(pid)
	if err != nil || !id.Alive() {
		return id, false
	}
	args, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return id, err == nil && bytes.Contains(args, []byte("\x00"+path+"\x00"))
}
