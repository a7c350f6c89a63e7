// Lope runs containers from OCI bundles: an OCI runtime as runc and crun are.
package main

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"

	"loper.run/container/monitor"
	"loper.run/internal/version"
	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// command is one of lope's commands.
type command struct {
	name, args, short string
	long              string // for the manual page and --help; empty: short says it all
	flags             func(*pflag.FlagSet)
	run               func(g *global, args []string) error
	stopAtArgs        bool // what follows the first argument is no flag of lope's
}

// commands in the order of the help.
func commands() []func() command {
	return []func() command{
		createCommand, startCommand, runCommand, execCommand, stateCommand, killCommand, deleteCommand,
		pauseCommand, resumeCommand, updateCommand, psCommand, eventsCommand, mountsCommand,
		checkpointCommand, restoreCommand, listCommand, specCommand, featuresCommand, planCommand,
	}
}

// exitCode is an error that only carries the exit status of a container.
type exitCode int

func (e exitCode) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// failure is an error with an exit status of its own.
type failure struct {
	error
	code int
}

func (f failure) Unwrap() error { return f.error }

func main() {
	// The engine's monitor is the hot way: nothing is set up for it.
	if len(os.Args) == 3 && os.Args[1] == "monitor" {
		os.Exit(monitor.Main(os.Args[2]))
	}
	g := &global{}
	err := lope(g, os.Args[1:])
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.Is(err, pflag.ErrHelp):
	default:
		g.fail(err)
		os.Exit(runtimeExit(err))
	}
}

// runtimeExit is the exit status for a failure of lope itself. As with runc it
// is 1, but the codes for programs that can't be executed are shells'.
func runtimeExit(err error) int {
	var f failure
	if errors.As(err, &f) {
		return f.code
	}
	if code := runtime.ExitCode(err); code != 125 {
		return code
	}
	return 1
}

func lope(g *global, args []string) error {
	flags := g.flags()
	flags.Usage = func() { usage(os.Stdout, flags) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if g.version {
		printVersion()
		return nil
	}
	if err := g.open(); err != nil {
		return err
	}
	rest := flags.Args()
	if len(rest) == 2 && rest[0] == "help" {
		rest = []string{rest[1], "--help"}
	}
	if len(rest) == 0 || rest[0] == "help" {
		usage(os.Stdout, flags)
		return nil
	}
	for _, make := range commands() {
		if c := make(); c.name == rest[0] {
			return c.parse(g, rest[1:])
		}
	}
	return fmt.Errorf("unknown command %q; see 'lope --help'", rest[0])
}

// printVersion prints what engines read a line each of: the version behind the
// word "version", and the values behind "commit:" and "spec:".
func printVersion() {
	fmt.Printf("lope version %s\ncommit: %s\nspec: %s\ngo: %s\n+%s\n", version.String(), version.Commit(), specs.Version, goruntime.Version(),
		strings.Join([]string{"SYSTEMD", "SELINUX", "APPARMOR", "CAP", "SECCOMP", "EBPF", "CRIU"}, " +"))
}

func (c command) flagSet() *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SetInterspersed(!c.stopAtArgs)
	flags.SortFlags = false
	flags.SetOutput(os.Stdout)
	if c.flags != nil {
		c.flags(flags)
	}
	return flags
}

func (c command) parse(g *global, args []string) error {
	flags := c.flagSet()
	flags.Usage = func() { fmt.Print(c.help(flags)) }
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w; see 'lope %s --help'", err, c.name)
	}
	g.debugf("lope %s %q", c.name, flags.Args()[:min(1, flags.NArg())]) // a program's arguments may be secret
	return c.run(g, flags.Args())
}

func (c command) help(flags *pflag.FlagSet) string {
	text := fmt.Sprintf("Usage: lope %s [flags] %s\n\n%s\n", c.name, c.args, c.short)
	if c.long != "" {
		text += "\n" + c.long + "\n"
	}
	if flags.HasAvailableFlags() {
		text += "\nFlags:\n" + flags.FlagUsages()
	}
	return text
}

func usage(out *os.File, flags *pflag.FlagSet) {
	fmt.Fprintf(out, "Usage: lope [flags] COMMAND\n\nAn OCI runtime.\n\nCommands:\n")
	for _, make := range commands() {
		c := make()
		fmt.Fprintf(out, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprintf(out, "\nFlags:\n%s", flags.FlagUsages())
}
