// Loper-net carries the traffic of an ordinary user's containers between their network namespace and the host. An ordinary
// user can make network namespaces, but no cable out of them: so this process has sockets on both sides. It is a program of
// its own for the TCP/IP stack that this takes, and there is one for each user, as long as one of the user's containers
// runs.
//
//   - Way out (package out): packets of a tun interface in the namespace end in a network stack here, and go on as the
//     user's own connections. pasta does the same, and takes this place where it is installed.
//   - Published ports (package ports): connections to ports of the host are carried to a container, with the client's
//     address as their source.
//
// A child of this process (package inside) has joined both namespaces: it makes the interface and the rules for the way
// back, and afterwards sockets, when it is asked for some.
//
// Package internal/netcontrol tells how it is started and spoken with. Once the descriptors that it was started with are
// set up, both processes give up what they don't need: new privileges, files, most system calls.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"loper.run/cmd/loper-net/inside"
	"loper.run/internal/version"
)

const usage = `usage: loper-net [--interface NAME] [--mtu N] [--host-loopback]

Carries the traffic of an ordinary user's containers between their network namespace and the host. loper starts it, with
the descriptors 3 (a listening unix socket), 4 (the user namespace) and 5 (the network namespace), and it ends with the
last container that is connected to it. On stderr it says what should not happen.

  --interface NAME  make this interface in the namespace, as the way out; without it, only ports are published
  --mtu N           of that interface
  --host-loopback   let the way out's gateway address lead to the host's loopback
  --help            this text
  --version         the version
`

func main() {
	run := func() error { return run(os.Args[1:], os.Stdout) }
	if os.Args[0] == inside.Name {
		run = inside.Main
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "loper-net:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("loper-net", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.Interface, "interface", "", "")
	flags.IntVar(&s.MTU, "mtu", defaultMTU, "")
	flags.BoolVar(&s.hostLoopback, "host-loopback", false, "")
	showVersion := flags.Bool("version", false, "")
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		_, err := io.WriteString(out, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w; see loper-net --help", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q; see loper-net --help", flags.Arg(0))
	case *showVersion:
		_, err := fmt.Fprintln(out, "loper-net version", version.String())
		return err
	case s.MTU < minMTU || s.MTU > maxMTU:
		return fmt.Errorf("an MTU of %d; it is from %d to %d", s.MTU, minMTU, maxMTU)
	}
	return serve(s)
}
