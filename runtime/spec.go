package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"loper.run/runtime/specjson"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxConfig bounds config.json. Real ones have some tens of kilobytes.
const maxConfig = 16 << 20

// ConfigError is a value in config.json that can't be used.
type ConfigError struct {
	Field string // as in "process.user.uid"
	Err   error
}

// Error names the field and what is wrong with it.
func (e *ConfigError) Error() string { return "config.json: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

func badField(field, format string, args ...any) error {
	return &ConfigError{field, fmt.Errorf(format, args...)}
}

// LoadSpec reads and validates the config.json of a bundle.
func LoadSpec(bundle string) (*specs.Spec, error) {
	data, err := ReadConfig(bundle)
	if err != nil {
		return nil, err
	}
	return ParseSpec(data)
}

// ReadConfig reads the config.json of a bundle.
func ReadConfig(bundle string) ([]byte, error) {
	path := filepath.Join(bundle, "config.json")
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (a bundle is a directory with a config.json; make one with 'lope spec')", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() { // a pipe would be waited at
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.Join(err, errNotRegular)}
	}
	return readLimited(f)
}

// ParseSpec decodes and validates the text of a config.json.
func ParseSpec(data []byte) (*specs.Spec, error) {
	spec, err := specjson.Decode(data)
	if err != nil {
		spec = &specs.Spec{}
		if err := json.Unmarshal(data, spec); err != nil {
			return nil, decodeError(data, err)
		}
	}
	return spec, Validate(spec)
}

// decodeError adds the place of the mistake to an error of encoding/json.
func decodeError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		before := data[:min(int(syntax.Offset), len(data))]
		return fmt.Errorf("config.json: line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
	case errors.As(err, &kind):
		return badField(kind.Field, "is a %s, where a %s is expected", kind.Value, kind.Type)
	}
	return fmt.Errorf("config.json: %w", err)
}

// Validate finds the mistakes that need no look at the machine.
func Validate(spec *specs.Spec) error {
	switch {
	case spec.Version == "":
		return badField("ociVersion", "is missing")
	case !strings.HasPrefix(spec.Version, "1."):
		return badField("ociVersion", "%q is not supported; versions 1.0 to 1.3 are", spec.Version)
	case spec.Root == nil:
		return badField("root", "is missing")
	case spec.Root.Path == "":
		return badField("root.path", "is empty")
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	for i, m := range spec.Mounts {
		if err := validateMount(i, m); err != nil {
			return err
		}
	}
	seen := map[specs.LinuxNamespaceType]bool{}
	for i, n := range spec.Linux.Namespaces {
		field := fmt.Sprintf("linux.namespaces[%d]", i)
		if namespaceFlag(n.Type) == 0 {
			return badField(field+".type", "unknown namespace %q", n.Type)
		}
		if seen[n.Type] {
			return badField(field+".type", "%q is listed twice", n.Type)
		}
		if n.Path != "" && !filepath.IsAbs(n.Path) {
			return badField(field+".path", "%q is not an absolute path", n.Path)
		}
		seen[n.Type] = true
	}
	if spec.Hostname != "" && !seen[specs.UTSNamespace] {
		return badField("hostname", "needs a uts namespace of the container's own, else it would rename the host")
	}
	if spec.Domainname != "" && !seen[specs.UTSNamespace] {
		return badField("domainname", "needs a uts namespace of the container's own, else it would rename the host")
	}
	if len(spec.Linux.MaskedPaths)+len(spec.Linux.ReadonlyPaths) > 0 && !seen[specs.MountNamespace] {
		return badField("linux.maskedPaths", "needs a mount namespace of the container's own")
	}
	if len(spec.Linux.UIDMappings)+len(spec.Linux.GIDMappings) > 0 && !seen[specs.UserNamespace] {
		return badField("linux.uidMappings", "needs a user namespace")
	}
	if err := validateIntelRdt(spec.Linux.IntelRdt); err != nil {
		return err
	}
	if err := validateHooks(spec); err != nil {
		return err
	}
	if err := validateNetDevices(spec); err != nil {
		return err
	}
	if spec.Process == nil {
		return nil
	}
	return validateProcess("process", spec.Process)
}

// maxConsole is what struct winsize has room for.
const maxConsole = 1<<16 - 1

func validateProcess(field string, p *specs.Process) error {
	if len(p.Args) == 0 {
		return badField(field+".args", "is empty")
	}
	if !filepath.IsAbs(p.Cwd) {
		return badField(field+".cwd", "%q is not an absolute path", p.Cwd)
	}
	for i, e := range p.Env {
		if strings.ContainsRune(e, 0) {
			return badField(fmt.Sprintf("%s.env[%d]", field, i), "contains a NUL byte")
		}
	}
	for i, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			return badField(fmt.Sprintf("%s.args[%d]", field, i), "contains a NUL byte")
		}
	}
	if s := p.OOMScoreAdj; s != nil && (*s < -1000 || *s > 1000) {
		return badField(field+".oomScoreAdj", "%d is not in the range of -1000 to 1000", *s)
	}
	if s := p.ConsoleSize; s != nil && p.Terminal && (s.Width > maxConsole || s.Height > maxConsole) {
		return badField(field+".consoleSize", "%d x %d is more than a terminal can have", s.Width, s.Height)
	}
	if err := validateUser(p.User, field+".user"); err != nil {
		return err
	}
	if err := validateScheduler(p.Scheduler, field+".scheduler"); err != nil {
		return err
	}
	if err := validateIOPriority(p.IOPriority, field+".ioPriority"); err != nil {
		return err
	}
	return validateAffinity(p.ExecCPUAffinity, field+".execCPUAffinity")
}
