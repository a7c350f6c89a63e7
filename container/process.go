package container

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// initTarget is where the program of --init appears in the container.
const initTarget = "/sbin/docker-init"

// process is the first process, without its rights.
func (r *Record) process(f *facts) (*specs.Process, error) {
	s := &r.Settings
	args, err := r.args()
	if err != nil {
		return nil, err
	}
	if s.Init {
		args = append([]string{initTarget, "init", "--"}, args...)
	}
	spec := s.User
	if spec == "" {
		spec = r.Image.User
	}
	u, home, err := lookUpUser(spec, s.GroupAdd, f.accounts)
	if err != nil {
		return nil, err
	}
	if err := fit(&u, s.GroupAdd, f.uids, f.gids); err != nil {
		return nil, err
	}
	env, err := r.env(f, home)
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:    s.Terminal,
		User:        u,
		Args:        args,
		Env:         env,
		Cwd:         "/",
		OOMScoreAdj: s.OomScoreAdj,
	}
	switch {
	case s.WorkingDir != "" && (!path.IsAbs(s.WorkingDir) || strings.ContainsRune(s.WorkingDir, 0)):
		return nil, fmt.Errorf("working directory %q is not an absolute path", s.WorkingDir)
	case s.WorkingDir != "":
		p.Cwd = path.Clean(s.WorkingDir)
	case r.Image.WorkingDir != "":
		p.Cwd = r.Image.WorkingDir
	}
	for _, l := range s.Ulimits {
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(l.Name), Soft: l.Soft, Hard: l.Hard})
	}
	return p, nil
}

// args joins entrypoint and command: an entrypoint of the caller's drops the
// image's command with the image's entrypoint.
func (r *Record) args() ([]string, error) {
	entrypoint, cmd := r.Image.Entrypoint, r.Settings.Command
	if r.Settings.Entrypoint != nil {
		entrypoint = r.Settings.Entrypoint
		if len(entrypoint) == 1 && entrypoint[0] == "" {
			entrypoint = nil
		}
	} else if len(cmd) == 0 {
		cmd = r.Image.Cmd
	}
	args := slices.Concat(entrypoint, cmd)
	if len(args) == 0 {
		return nil, errors.New("no command: neither the image nor the caller names one")
	}
	for _, arg := range args {
		if strings.ContainsRune(arg, 0) {
			return nil, fmt.Errorf("argument %q has a zero byte", arg)
		}
	}
	return args, nil
}

// env is the environment: the engine's own, the caller's, what the image adds
// to it, and HOME. A caller's NAME without a value takes the variable away.
func (r *Record) env(f *facts, home string) ([]string, error) {
	env := []string{defaultPath, "HOSTNAME=" + r.hostname(f)}
	if r.Settings.Terminal {
		env = append(env, "TERM=xterm")
	}
	env = setEnv(env, r.Image.Env)
	var drop []string
	for _, v := range r.Settings.Env {
		if name, _, ok := strings.Cut(v, "="); !ok && name != "" {
			drop = append(drop, name)
		} else if err := checkEnv(v); err != nil {
			return nil, fmt.Errorf("environment: %w", err)
		}
	}
	env = setEnv(env, r.Settings.Env)
	env = slices.DeleteFunc(env, func(v string) bool { return slices.Contains(drop, envName(v)) })
	if !hasEnv(env, "HOME") && !slices.Contains(drop, "HOME") {
		env = append(env, "HOME="+home)
	}
	return env, nil
}

// setEnv replaces the variables of env that more names, and appends the others.
func setEnv(env, more []string) []string {
	for _, v := range more {
		i := slices.IndexFunc(env, func(old string) bool { return envName(old) == envName(v) })
		switch {
		case !strings.Contains(v, "="):
		case i >= 0:
			env[i] = v
		default:
			env = append(env, v)
		}
	}
	return env
}

func envName(v string) string {
	name, _, _ := strings.Cut(v, "=")
	return name
}

func hasEnv(env []string, name string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return envName(v) == name })
}

// hostname is what the container calls itself.
func (r *Record) hostname(f *facts) string {
	switch {
	case r.Settings.UtsMode == "host":
		return f.hostname
	case r.Settings.Hostname != "":
		return r.Settings.Hostname
	case r.Settings.Network == "host":
		return f.hostname
	}
	return r.ID[:12]
}
