package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"loper.run/internal/fdpass"
	"loper.run/launch"
	"loper.run/runtime/criu"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// criuRoot is the directory in the state directory on which criu's process has
// the root file system.
const criuRoot = "criu-root"

// Restore makes a container of the images that a Checkpoint wrote. Its bundle
// must be like that of the checkpointed one; what is mounted from the host comes
// from where config.json says. Its id and cgroups may be others.
//
// Of the hooks, prestart and createRuntime run when the namespaces are there,
// and poststart at the end: those in the container did so before the
// checkpoint.
func Restore(o Options, k CRIU) (_ *Container, err error) {
	if err := CheckID(o.ID); err != nil {
		return nil, err
	}
	s := &starting{options: o, files: launch.Files{}}
	if s.spec, err = o.spec(); err != nil {
		return nil, err
	}
	options, err := k.options(s.spec, "restore.log")
	if err != nil {
		return nil, err
	}
	if err := refuseBound(k.Images, o.Detached); err != nil {
		return nil, err
	}
	lock, err := s.register()
	if err != nil {
		return nil, err
	}
	s.owned = append(s.owned, lock)
	defer func() {
		if err != nil {
			err = s.undo(err)
		}
		closeAll(s.owned)
	}()
	if err := s.makeCgroup(); err != nil {
		return nil, err
	}
	if err := s.openCgroup(nil); err != nil {
		return nil, err
	}
	if err := s.restore(&k, options); err != nil {
		return nil, err
	}
	if err := s.container.poststart(s.spec); err != nil {
		return nil, err
	}
	return s.container, nil
}

// restore has criu make the processes.
func (s *starting) restore(k *CRIU, o *criu.Options) error {
	root := filepath.Join(s.container.dir, criuRoot)
	if err := os.Mkdir(root, 0o700); err != nil {
		return err
	}
	defer os.Remove(root)
	o.Root, o.Sibling = root, true
	var err error
	if o.External, err = s.restoreMounts(); err != nil {
		return err
	}
	var lent lent
	defer lent.back()
	if err := lent.lend(o.Images, s.spec); err != nil {
		return err
	}
	start := criuStart{stdin: k.stdin(), tasks: s.files, nTasks: s.tasks, into: s.into, rootfs: s.spec.Root.Path, root: root}
	if s.byParent {
		start.enter = s.enterCgroup
	}
	keys, err := s.inherited(k.Images, &start)
	if err != nil {
		return err
	}
	p, err := startCRIU(k.Program, start)
	if err != nil {
		return err
	}
	defer p.end()
	if o.CgroupRoots, err = cgroupRoots(p.process.Pid()); err != nil {
		return explainCRIU(err, k, o)
	}
	work, err := p.seen(o.Work)
	if err != nil {
		return explainCRIU(err, k, o)
	}
	defer work.Close()
	o.Work = work
	for i, key := range keys {
		o.InheritFDs = append(o.InheritFDs, criu.Inherit{Key: key, FD: p.inherited[i]})
	}
	err = criu.Call(p.socket, criu.Restore, o, s.notified)
	if err != nil {
		return explainCRIU(err, k, o)
	}
	if s.container.process == nil {
		return errors.New("criu restored no process")
	}
	return nil
}

// inherited opens what restored processes get in the place of files that are in
// no image: namespaces that were joined, and standard streams that were pipes.
// The keys name them to criu.
func (s *starting) inherited(images *os.File, start *criuStart) (keys []string, err error) {
	for _, ns := range s.ns.joined {
		key := externalNamespace(ns)
		if key == "" {
			continue
		}
		f, err := openNamespace(ns)
		if err != nil {
			return nil, err
		}
		s.owned = append(s.owned, f)
		keys, start.inherit = append(keys, key), append(start.inherit, f)
	}
	names, err := readStreams(images)
	if err != nil {
		return nil, err
	}
	if err := s.streams(s.options.Stdin, s.options.Stdout, s.options.Stderr, nil); err != nil {
		return nil, err
	}
	for i, name := range names {
		if strings.HasPrefix(name, "pipe:") || externalStream(name) {
			keys, start.inherit = append(keys, name), append(start.inherit, s.files[streamInputs[i]])
		}
	}
	return keys, nil
}

// notified acts at criu's points of call. While it does, criu waits.
func (s *starting) notified(n criu.Notification) error {
	switch n.Script {
	case "setup-namespaces":
		return s.hooksAtRestore(n.Pid)
	case "orphan-pts-master":
		return s.terminalRestored(n.File)
	case "post-restore":
		p, err := launch.Adopt(n.Pid)
		if err != nil {
			return fmt.Errorf("the restored process: %w", err)
		}
		s.container.process = p
		return s.started(n.Pid)
	}
	return nil
}

// hooksAtRestore runs the hooks that prepare what is around the container.
func (s *starting) hooksAtRestore(pid int) error {
	s.container.state.Pid = pid
	h := hooksOf(s.spec)
	if err := s.container.runHooks("prestart", prestart(h), specs.StateCreated); err != nil {
		return err
	}
	return s.container.runHooks("createRuntime", h.CreateRuntime, specs.StateCreating)
}

// terminalRestored sends the container's terminal where a new one would go.
func (s *starting) terminalRestored(master *os.File) error {
	if master == nil {
		return errors.New("criu sent no terminal")
	}
	if s.options.ConsoleSocket == nil {
		return badField("process.terminal", "is not set, but the checkpointed container has a terminal")
	}
	if err := fdpass.Send(int(s.options.ConsoleSocket.Fd()), master.Name(), int(master.Fd())); err != nil {
		return fmt.Errorf("send the terminal to its console socket: %w", err)
	}
	if s.options.Terminal != nil {
		return s.options.Terminal()
	}
	return nil
}

// cgroupRoots tells criu in which groups the processes will be, which may have
// been others before: those that it is in itself.
func cgroupRoots(pid int) (roots []criu.CgroupRoot, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup") // of our child, even when it has ended
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			roots = append(roots, criu.CgroupRoot{Controller: controller, Path: fields[2]})
		}
	}
	return roots, nil
}
