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
	"unicode"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

// global holds the flags before the command.
type global struct {
	root, log, logFormat    string
	rootless, cgroupManager string
	criu                    string
	debug, systemdCgroup    bool
	version                 bool
	rootlessCgroup          *bool // nil: as the caller's rights are
	logFile                 *os.File
}

func (g *global) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("lope", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.SortFlags = false
	f.StringVar(&g.root, "root", defaultRoot(), "directory of the containers' state")
	f.StringVar(&g.log, "log", "", "file that takes errors and warnings too")
	f.StringVar(&g.logFormat, "log-format", "text", "text or json")
	f.BoolVar(&g.debug, "debug", false, "log what is done, to the --log file or standard error")
	f.BoolVar(&g.systemdCgroup, "systemd-cgroup", false, "let systemd make the cgroups; linux.cgroupsPath is then SLICE:PREFIX:NAME")
	f.StringVar(&g.cgroupManager, "cgroup-manager", "", "cgroupfs, systemd, or disabled for a container without cgroups of its own")
	f.StringVar(&g.rootless, "rootless", "auto", "go on without the cgroups that an ordinary user can't make: true, false or auto")
	f.StringVar(&g.criu, "criu", "criu", "program that checkpoints and restores")
	f.BoolVarP(&g.version, "version", "v", false, "print the version")
	return f
}

// open checks the flags and opens the log.
func (g *global) open() (err error) {
	if g.logFormat != "text" && g.logFormat != "json" {
		return fmt.Errorf("--log-format %q: text and json are known", g.logFormat)
	}
	switch g.cgroupManager {
	case "", "cgroupfs", "disabled":
	case "systemd":
		g.systemdCgroup = true
	default:
		return fmt.Errorf("--cgroup-manager %q: cgroupfs, systemd and disabled are known", g.cgroupManager)
	}
	if g.rootless != "auto" {
		without, err := strconv.ParseBool(g.rootless)
		if err != nil {
			return fmt.Errorf("--rootless %q: true, false and auto are known", g.rootless)
		}
		g.rootlessCgroup = &without
	}
	if g.root == "" {
		return errors.New("--root is empty")
	}
	if g.root, err = filepath.Abs(g.root); err != nil {
		return err
	}
	if g.log != "" {
		g.logFile, err = os.OpenFile(g.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	}
	return err
}

// fail says what went wrong on standard error, and in the log, where an engine
// takes the last line with the level "error" for the reason.
func (g *global) fail(err error) {
	text := oneLine(err.Error())
	if g.logFile != nil {
		g.write(g.logFile, "error", text)
	}
	if g.logFile == nil && g.logFormat == "json" {
		g.write(os.Stderr, "error", text)
		return
	}
	fmt.Fprintf(os.Stderr, "lope: %s\n", text)
}

// warn tells people what has no effect: in the log if there is one, because the
// standard error of create and run is the container's as well.
func (g *global) warn(lines []string) {
	for _, l := range lines {
		l = oneLine(l)
		if g.logFile != nil {
			g.write(g.logFile, "warning", l)
			continue
		}
		fmt.Fprintln(os.Stderr, "lope: warning:", l)
	}
}

// debugf logs an operation when --debug asks for it.
func (g *global) debugf(format string, args ...any) {
	if !g.debug {
		return
	}
	out := g.logFile
	if out == nil {
		out = os.Stderr
	}
	g.write(out, "debug", oneLine(fmt.Sprintf(format, args...)))
}

// trace is debugf for the runtime's own account, or nil when nobody wants it.
func (g *global) trace() func(string) {
	if !g.debug {
		return nil
	}
	return func(text string) { g.debugf("%s", text) }
}

// write writes a line in the words of logrus, which engines parse. What can't
// be written has no other place to be reported to.
func (g *global) write(out *os.File, level, text string) {
	now := time.Now().Format(time.RFC3339)
	if g.logFormat == "text" {
		fmt.Fprintf(out, "time=%q level=%s msg=%q\n", now, level, text)
		return
	}
	line, _ := json.Marshal(map[string]string{"level": level, "msg": text, "time": now}) // strings: can't fail
	fmt.Fprintf(out, "%s\n", line)
}

// oneLine makes a line of a text, in which a container's own words can do no
// harm to a terminal.
func oneLine(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// defaultRoot is where state lies that needs not survive a boot. The root of a
// user namespace is an ordinary user as well, with his directory: so Podman
// calls its runtime. USER tells who became another namespace's root for good.
func defaultRoot() string {
	if os.Geteuid() == 0 && (os.Getenv("XDG_RUNTIME_DIR") == "" || os.Getenv("USER") == "root" || !inUserNamespace()) {
		return "/run/lope"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "lope")
	}
	return filepath.Join(os.TempDir(), "lope-"+strconv.Itoa(os.Geteuid()))
}

// inUserNamespace tells whether ids are not the machine's own.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}

// one returns the only argument, a container's id.
func one(args []string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("one container id is expected, not %d arguments", len(args))
	}
	return args[0], nil
}

// none refuses arguments.
func none(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("no arguments are expected, not %d", len(args))
	}
	return nil
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

// byID is a command that does one thing to one container.
func byID(name, short string, do func(*runtime.Container) error) command {
	return command{name: name, args: "ID", short: short, run: func(g *global, args []string) error {
		c, err := load(g, args)
		if err != nil {
			return err
		}
		return do(c)
	}}
}
