// Lope runs containers from OCI bundles: an OCI runtime as runc and crun are.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"loper.run/container/monitor"
	"loper.run/internal/version"
	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// command is one of lope's commands.
type command struct {
	name, args, short string
	flags             func(*pflag.FlagSet)
	run               func(g *global, args []string) error
}

// global holds the flags before the command.
type global struct {
	root, log, logFormat string
}

// commands in the order of the help.
func commands() []func() command {
	return []func() command{
		createCommand, startCommand, runCommand, execCommand, stateCommand, killCommand, deleteCommand,
		pauseCommand, resumeCommand, listCommand, specCommand, planCommand,
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

// warn tells people what has no effect.
func warn(lines []string) {
	for _, l := range lines {
		fmt.Fprintln(os.Stderr, "lope: warning:", l)
	}
}

// record writes an error where an engine looks for it, in logrus's words.
func (g *global) record(text string) {
	if g.log == "" {
		return
	}
	f, err := os.OpenFile(g.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return // it stands on standard error anyway
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if g.logFormat == "text" {
		fmt.Fprintf(f, "time=%q level=error msg=%q\n", now, text)
		return
	}
	line, _ := json.Marshal(map[string]string{"level": "error", "msg": text, "time": now}) // strings: can't fail
	fmt.Fprintf(f, "%s\n", line)
}

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
		text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
		fmt.Fprintf(os.Stderr, "lope: %s\n", text)
		g.record(text)
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
	flags := pflag.NewFlagSet("lope", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.SortFlags = false
	flags.StringVar(&g.root, "root", defaultRoot(), "directory of the containers' state")
	flags.StringVar(&g.log, "log", "", "file that takes errors too")
	flags.StringVar(&g.logFormat, "log-format", "text", "text or json")
	flags.Bool("debug", false, "accepted for other runtimes' sake")
	showVersion := flags.BoolP("version", "v", false, "print the version")
	flags.Usage = func() { usage(os.Stdout, flags) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		fmt.Printf("lope version %s\nspec: %s\n", version.String(), specs.Version)
		return nil
	}
	if g.logFormat != "text" && g.logFormat != "json" {
		return fmt.Errorf("--log-format %q: text and json are known", g.logFormat)
	}
	rest := flags.Args()
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

func (c command) parse(g *global, args []string) error {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SetInterspersed(c.name != "exec")
	flags.SortFlags = false
	flags.SetOutput(os.Stdout)
	if c.flags != nil {
		c.flags(flags)
	}
	flags.Usage = func() {
		fmt.Printf("Usage: lope %s [flags] %s\n\n%s\n\nFlags:\n%s", c.name, c.args, c.short, flags.FlagUsages())
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w; see 'lope %s --help'", err, c.name)
	}
	return c.run(g, flags.Args())
}

func usage(out *os.File, flags *pflag.FlagSet) {
	fmt.Fprintf(out, "Usage: lope [flags] COMMAND\n\nAn OCI runtime.\n\nCommands:\n")
	for _, make := range commands() {
		c := make()
		fmt.Fprintf(out, "  %-8s %s\n", c.name, c.short)
	}
	fmt.Fprintf(out, "\nFlags:\n%s", flags.FlagUsages())
}

// defaultRoot is where state lies that needs not survive a boot.
func defaultRoot() string {
	if os.Geteuid() == 0 {
		return "/run/lope"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "lope")
	}
	return filepath.Join(os.TempDir(), "lope-"+strconv.Itoa(os.Geteuid()))
}

// one returns the only argument, a container's id.
func one(args []string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("one container id is expected, not %d arguments", len(args))
	}
	return args[0], nil
}

// load finds the container that is the only argument.
func load(g *global, args []string) (*runtime.Container, error) {
	id, err := one(args)
	if err != nil {
		return nil, err
	}
	c, err := runtime.Load(g.root, id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("container %q does not exist", id)
	}
	return c, err
}
