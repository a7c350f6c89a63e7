package env

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is a picture of what containers could leave on a machine: each set holds one line a thing.
type Host struct {
	Mounts, Cgroups, Interfaces, Firewall, Devices, Processes, Descriptors, Files map[string]bool
	look                                                                          Look
}

// Look says what counts, since a machine has other work too. Mounts, interfaces and the firewall count always.
type Look struct {
	State    []string       // directories whose every entry counts
	Programs string         // processes of the programs in this directory count
	Mark     string         // so do those in other pid namespaces that have a mount whose description has this in it
	Cgroups  *regexp.Regexp // cgroups without processes whose paths match count; nil: all of them
}

// Snapshot takes the picture.
func Snapshot(look Look) Host {
	return Host{
		look: look, Mounts: mounts(), Cgroups: look.cgroups(), Interfaces: names("/sys/class/net"), Firewall: firewall(),
		Devices: devices(), Processes: look.processes(), Descriptors: descriptors(), Files: look.files(),
	}
}

// Settle compares the host with the picture until nothing differs or the time is over, and returns the differences then.
func (h Host) Settle(patience time.Duration) []string {
	deadline := time.Now().Add(patience)
	for {
		diff := h.Diff(Snapshot(h.look))
		if len(diff) == 0 || time.Now().After(deadline) {
			return diff
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Diff is what came (+) and went (-) between the two pictures. What may well be others' counts only when it came.
func (h Host) Diff(after Host) []string {
	var diff []string
	for _, set := range []struct {
		name          string
		before, after map[string]bool
		ends          bool // others' come to an end at any time
	}{
		{"mount", h.Mounts, after.Mounts, false},
		{"cgroup", h.Cgroups, after.Cgroups, true},
		{"interface", h.Interfaces, after.Interfaces, false},
		{"firewall", h.Firewall, after.Firewall, false},
		{"device", h.Devices, after.Devices, false},
		{"process", h.Processes, after.Processes, true},
		{"descriptor", h.Descriptors, after.Descriptors, false},
		{"file", h.Files, after.Files, false},
	} {
		for line := range set.after {
			if !set.before[line] {
				diff = append(diff, fmt.Sprintf("%s + %s", set.name, line))
			}
		}
		for line := range set.before {
			if !set.after[line] && !set.ends && !(set.name == "mount" && strings.Contains(line, " "+os.TempDir()+"/")) {
				diff = append(diff, fmt.Sprintf("%s - %s", set.name, line))
			}
		}
	}
	sort.Strings(diff)
	return diff
}

func mounts() map[string]bool {
	set := map[string]bool{}
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 6 {
			set[strings.Join(fields[2:], " ")] = true // ids of mounts are given out anew
		}
	}
	return set
}

// UnmountBelow unmounts all that is mounted below a directory: what a program under test left there.
func UnmountBelow(dir string) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	for _, p := range slices.Backward(points) {
		unix.Unmount(p, unix.MNT_DETACH)
	}
}

func (l Look) cgroups() map[string]bool {
	set := map[string]bool{}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if (l.Cgroups == nil || l.Cgroups.MatchString(path)) && isEmpty(path) {
			set[path] = true
		}
		return nil
	})
	return set
}

// isEmpty says whether no process is in a cgroup: one that was forgotten. What still runs is seen as a process.
func isEmpty(cgroup string) bool {
	entries, _ := os.ReadDir(cgroup)
	for _, e := range entries {
		if e.IsDir() && !isEmpty(filepath.Join(cgroup, e.Name())) {
			return false
		}
	}
	procs, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	return err == nil && len(procs) == 0
}

func names(dir string) map[string]bool {
	set := map[string]bool{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		set[e.Name()] = true
	}
	return set
}

// devices are the nodes that every container gets: a mode or an owner that changes there changes for all programs of the machine.
func devices() map[string]bool {
	set := map[string]bool{}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "ptmx"} {
		var st unix.Stat_t
		if err := unix.Stat("/dev/"+name, &st); err == nil {
			set[fmt.Sprintf("/dev/%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)] = true
		}
	}
	return set
}

func firewall() map[string]bool {
	set := map[string]bool{}
	out, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		return set
	}
	for line := range strings.Lines(string(out)) {
		set[strings.TrimSpace(line)] = true
	}
	return set
}

// processes are those of the looked-for programs, those of the looked-for containers, and our own dead children.
func (l Look) processes() map[string]bool {
	set := map[string]bool{}
	own, _ := os.Readlink("/proc/self/ns/pid")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		pid := filepath.Base(dir)
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // state ppid …, start time is the 20th
		if len(fields) < 20 {
			continue
		}
		program, _ := os.Readlink(dir + "/exe")
		namespace, _ := os.Readlink(dir + "/ns/pid")
		zombie := fields[0] == "Z" && fields[1] == fmt.Sprint(os.Getpid())
		contained := false
		if l.Mark != "" && namespace != "" && namespace != own {
			mounts, _ := os.ReadFile(dir + "/mountinfo")
			contained = strings.Contains(string(mounts), l.Mark)
		}
		if zombie || contained || l.Programs != "" && strings.HasPrefix(program, l.Programs+"/") {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			set[fmt.Sprintf("%s (start %s, state %s) %s: %s", pid, fields[19], fields[0], program, strings.ReplaceAll(string(cmdline), "\x00", " "))] = true
		}
	}
	return set
}

// descriptors are our own, without those that the runtime's poller and this very look hold.
func descriptors() map[string]bool {
	set := map[string]bool{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "anon_inode:[event") || strings.HasPrefix(target, "socket:") {
			continue
		}
		set[e.Name()+" -> "+target] = true
	}
	return set
}

func (l Look) files() map[string]bool {
	set := map[string]bool{}
	for _, dir := range l.State {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				set[path] = true
			}
			return nil
		})
	}
	return set
}
