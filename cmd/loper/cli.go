package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"loper.run/image"
)

// cli is what every command has in common: where it reads and writes, and
// where the engine keeps its state.
type cli struct {
	in, out, err *os.File

	root     string // of lasting state; "": the user's default
	runroot  string // of state that a reboot ends; "": the user's default
	logLevel string
}

// main runs the command that args name and returns the exit code.
func (c *cli) main(args []string) int {
	root := c.command(args)
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(context.Background())
	return c.report(cmd, err)
}

// failure is an error that carries the exit code of the whole program.
type failure struct {
	code int
	err  error // nil: nothing more is to be said
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// engineExit is the exit code of a fault of the engine, as against one of the
// program in the container.
const engineExit = 125

// exit gives err an exit code.
func exit(code int, err error) error {
	if code == 0 && err == nil {
		return nil
	}
	return &failure{code: code, err: err}
}

// report prints err as one line, unless it was told already, and returns the
// exit code that goes with it.
func (c *cli) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	code, message := 1, err.Error()
	if f, ok := errors.AsType[*failure](err); ok {
		code = f.code
		if f.err == nil {
			return code // 0 when the user detached
		}
	}
	if errors.Is(err, image.ErrDamaged) && !strings.Contains(message, "again") {
		message += " (see 'loper system check --repair')"
	}
	fmt.Fprintln(c.err, "loper: "+oneLine(message))
	return code
}

// oneLine makes one line of a message. What a registry or a container wrote
// may be part of it, and must not steer the terminal.
func oneLine(message string) string {
	message = strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, message)
}

// badUsage is a mistake in the words of a command, with the place to look.
func badUsage(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf(format+". See '%s --help'", append(args, cmd.CommandPath())...)
}

// each calls f for every name and goes on after errors, each of which is
// printed. The exit code is 1 when there was one.
func (c *cli) each(names []string, f func(name string) error) error {
	failed := false
	for _, name := range names {
		if err := f(name); err != nil {
			c.report(nil, err)
			failed = true
		}
	}
	if failed {
		return exit(1, nil)
	}
	return nil
}

// warn prints one line that is no error, unless only errors are wanted.
func (c *cli) warn(format string, args ...any) {
	if c.logLevel != "error" && c.logLevel != "fatal" && c.logLevel != "panic" {
		fmt.Fprintln(c.err, "loper: warning: "+oneLine(fmt.Sprintf(format, args...)))
	}
}

// checkLogLevel accepts podman's words for --log-level.
func (c *cli) checkLogLevel() error {
	switch c.logLevel {
	case "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic":
		return nil
	}
	return fmt.Errorf("--log-level: '%s' is not debug, info, warn or error", c.logLevel)
}
