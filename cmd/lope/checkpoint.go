package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

// images holds the flags that checkpoint and restore share.
type images struct {
	criu                runtime.CRIU
	imagePath, workPath string
	made                []string // directories that this command made
}

func (i *images) flags(f *pflag.FlagSet) {
	f.StringVar(&i.imagePath, "image-path", "checkpoint", "directory of the images")
	f.StringVar(&i.workPath, "work-path", "", "directory of criu's log and other files; the images' if not given")
	f.StringVar(&i.criu.Parent, "parent-path", "", "directory of an earlier pre-dump, relative to the images'")
	f.BoolVar(&i.criu.TCPEstablished, "tcp-established", false, "allow open TCP connections")
	f.BoolVar(&i.criu.ExtUnixSk, "ext-unix-sk", false, "allow unix sockets whose other end is outside")
	f.BoolVar(&i.criu.ShellJob, "shell-job", false, "allow a terminal that is the caller's")
	f.BoolVar(&i.criu.LazyPages, "lazy-pages", false, "move memory when it is used (userfaultfd)")
	f.BoolVar(&i.criu.FileLocks, "file-locks", false, "allow file locks")
	f.StringVar(&i.criu.ManageCgroups, "manage-cgroups-mode", "soft", "what becomes of cgroups: soft, full, strict or ignore")
	f.StringArrayVar(&i.criu.EmptyNamespaces, "empty-ns", nil, "namespace whose content is left out: network")
	f.BoolVar(&i.criu.AutoDedup, "auto-dedup", false, "free pages of the parent's images that are in newer ones")
}

// open opens the directories, which a checkpoint makes.
func (i *images) open(g *global, make bool) (err error) {
	if i.criu.Program, err = exec.LookPath(g.criu); err != nil {
		return fmt.Errorf("criu, which checkpoints and restores, is missing (--criu names its program): %w", err)
	}
	if i.criu.Program, err = filepath.Abs(i.criu.Program); err != nil {
		return err
	}
	if i.criu.Images, err = i.directory(i.imagePath, make); err != nil {
		return err
	}
	if i.workPath != "" {
		i.criu.Work, err = i.directory(i.workPath, true)
	}
	return err
}

func (i *images) directory(path string, make bool) (*os.File, error) {
	if make {
		err := os.Mkdir(path, 0o700)
		switch {
		case err == nil:
			i.made = append(i.made, path)
		case !os.IsExist(err):
			return nil, err
		}
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return os.Open(dir)
}

// forget removes the directories of a command that failed.
func (i *images) forget() {
	for _, path := range i.made {
		_ = os.RemoveAll(path) // what failed is reported already
	}
}

// checkpointing holds the flags of checkpoint.
type checkpointing struct {
	images
	statusFD int
}

func checkpointCommand() command {
	var c checkpointing
	return command{
		name: "checkpoint", args: "ID", short: "Write a running container to images, from which restore makes it again",
		long: "CRIU does the work. The container is gone then, unless --leave-running or --pre-dump say otherwise.",
		flags: func(f *pflag.FlagSet) {
			c.images.flags(f)
			f.BoolVar(&c.criu.LeaveRunning, "leave-running", false, "let the container go on")
			f.BoolVar(&c.criu.PreDump, "pre-dump", false, "write the memory only and let the container go on")
			f.BoolVar(&c.criu.TCPSkipInFlight, "tcp-skip-in-flight", false, "leave out TCP connections that are not open yet")
			f.BoolVar(&c.criu.LinkRemap, "link-remap", false, "give removed files that are open a name while they are dumped")
			f.IntVar(&c.statusFD, "status-fd", -1, "descriptor that takes a byte once lazy pages can be fetched")
			f.StringVar(&c.criu.PageServer, "page-server", "", "ADDRESS:PORT that takes the memory instead of the images")
		},
		run: c.run,
	}
}

func (c *checkpointing) run(g *global, args []string) (err error) {
	made, err := load(g, args)
	if err != nil {
		return err
	}
	if c.statusFD >= 0 {
		c.criu.StatusFD = os.NewFile(uintptr(c.statusFD), "--status-fd")
	}
	defer func() {
		if err != nil {
			c.forget()
		}
	}()
	if err := c.open(g, true); err != nil {
		return err
	}
	if err := made.Checkpoint(c.criu); err != nil {
		return err
	}
	if c.criu.LeaveRunning || c.criu.PreDump {
		return nil
	}
	err = made.Delete(true)
	g.warn(made.Warnings())
	return err
}
