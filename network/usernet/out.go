package usernet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/netcontrol"
)

// errNoWay is what to do where neither program is installed.
var errNoWay = errors.New("containers reach no other machine: install pasta (Debian's and Fedora's package passt), or loper-net beside loper")

// outFile is there while loper-net is the way out.
const outFile = "net.out"

// carry starts what a container needs beside the namespaces, unless it is there:
// pasta as the way out, or else loper-net, which also carries ports.
func (d *dir) carry(s *Space, needs Needs) (err error) {
	if !needs.Out && !needs.Ports {
		return nil
	}
	if s.Carrier, err = netcontrol.Dial(d.path); err != nil && !errors.Is(err, netcontrol.ErrEnded) {
		return err
	}
	_, err = os.Lstat(d.file(outFile))
	out := s.Carrier != nil && err == nil
	switch {
	case out:
	case needs.Out:
		out = d.byPasta(s)
	default: // somebody else may have needed it
		_, out = d.pasta()
	}
	if s.Carrier == nil && (needs.Ports || needs.Out && !out) {
		if err = d.startCarrier(s, !out); err != nil && needs.Ports {
			return fmt.Errorf("publish ports: %w", err)
		}
	}
	return nil
}

// byPasta reports whether pasta is the way out. It stays as long as any
// container, so it is not stopped when it is not needed for a while.
func (d *dir) byPasta(s *Space) bool {
	if _, alive := d.pasta(); alive {
		return true
	}
	program, err := exec.LookPath("pasta")
	if err != nil {
		s.NoWay = errNoWay
		return false
	}
	s.NoWay = d.startPasta(program, s)
	return s.NoWay == nil
}

// startCarrier starts loper-net, which is to be the way out or not.
func (d *dir) startCarrier(s *Space, out bool) (err error) {
	p := netcontrol.Program{Dir: d.path, Log: d.file(logFile)}
	if p.Path, err = netcontrol.Find(); err != nil {
		return err
	}
	if err = os.RemoveAll(d.file(outFile)); err == nil && out {
		p.Interface = WayOut
		err = os.WriteFile(d.file(outFile), nil, 0o600)
	}
	if err != nil {
		return err
	}
	if s.Carrier, err = p.Start(s.User, s.Net); err != nil {
		err = d.explain(err)
		if s.NoWay != nil {
			s.NoWay = fmt.Errorf("%w; %w", s.NoWay, err)
		}
		return err
	}
	s.NoWay = nil
	return nil
}

// logFile is where loper-net says what went wrong.
const logFile = "net.log"

// explain puts loper-net's last words in place of an error that says less.
func (d *dir) explain(err error) error {
	text, _ := os.ReadFile(d.file(logFile))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}

// endOut ends pasta, and leaves it to the kernel how long that takes. loper-net
// ends with its last connection.
func (d *dir) endOut() error {
	if id, alive := d.pasta(); alive {
		if err := id.Signal(unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("end pasta: %w", err)
		}
	}
	return errors.Join(os.RemoveAll(d.file(pastaFile)), os.RemoveAll(d.file(outFile)))
}
