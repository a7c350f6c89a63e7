// Package isolation tells what separates the process that asks from the rest of
// the machine, as the process itself sees it.
package isolation

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// row is one line of the report.
type row struct{ name, value string }

// Report writes a table of the calling process's ids, namespaces, rights and
// limits. What can't be read is left out or called unknown; only writing fails.
func Report(w io.Writer) error {
	status := readStatus()
	host, _ := os.Hostname()
	if host == "" {
		host = "unknown"
	}
	rows := []row{
		{"user", identity(status["Uid"], status["Gid"])},
		{"user ids", idMap("/proc/self/uid_map")},
		{"group ids", idMap("/proc/self/gid_map")},
		{"process", fmt.Sprintf("pid %d, parent %d", os.Getpid(), os.Getppid())},
		{"hostname", host},
		{"root", rootFS()},
		{"capabilities", capabilities(status["CapEff"])},
		{"at most", most(status["CapBnd"], status["CapEff"])},
		{"new privileges", choose(status["NoNewPrivs"], map[string]string{"0": "allowed", "1": "never"})},
		{"seccomp", choose(status["Seccomp"], map[string]string{"0": "off", "1": "strict", "2": "filtered"})},
	}
	rows = append(rows, limits()...)
	rows = append(rows, row{"network", network()}, row{"namespaces", namespaces()})

	var out bytes.Buffer
	out.WriteString("Hello from Loper! This process runs in a container. What isolates it:\n\n")
	for _, r := range rows {
		for i, line := range strings.Split(r.value, "\n") {
			name := r.name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&out, "  %-15s %s\n", name, line)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// readStatus returns the fields of /proc/self/status.
func readStatus() map[string]string {
	fields := make(map[string]string)
	body, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(body)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}

func choose(value string, words map[string]string) string {
	if w, ok := words[value]; ok {
		return w
	}
	return "unknown"
}

func identity(uids, gids string) string {
	uid, gid := strings.Fields(uids), strings.Fields(gids)
	if len(uid) < 2 || len(gid) < 2 {
		return fmt.Sprintf("uid %d, gid %d", os.Geteuid(), os.Getegid())
	}
	return fmt.Sprintf("uid %s, gid %s", uid[1], gid[1])
}

// idMap says what ids here are outside.
func idMap(path string) string {
	body, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	var lines []string
	nested := true // an ordinary user's containers with networks are in a namespace of the user's
	for line := range strings.Lines(string(body)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		if f[0] == "0" && f[1] == "0" && f[2] == "4294967295" {
			return "the same as outside"
		}
		nested = nested && f[0] == f[1]
		lines = append(lines, fmt.Sprintf("%s here %s outside", span(f[0], f[2]), be(f[2], span(f[1], f[2]))))
	}
	if len(lines) == 0 {
		return "none is mapped"
	}
	if nested {
		return "the same as in the user's own namespace, outside of which they are others"
	}
	return strings.Join(lines, "\n")
}

func be(count, what string) string {
	if count == "1" {
		return "is " + what
	}
	return "are " + what
}

func span(first, count string) string {
	a, _ := strconv.ParseUint(first, 10, 64)
	n, _ := strconv.ParseUint(count, 10, 64)
	if n <= 1 {
		return first
	}
	return fmt.Sprintf("%d-%d", a, a+n-1)
}

func rootFS() string {
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		return "unknown"
	}
	kind := choose(strconv.FormatInt(int64(st.Type), 16), map[string]string{
		"794c7630": "overlay", "ef53": "ext4", "1021994": "tmpfs", "58465342": "xfs", "9123683e": "btrfs", "6969": "nfs", "65735546": "fuse", "2fc12fc1": "zfs", "f2f52010": "f2fs",
	})
	access := "writable"
	if st.Flags&unix.ST_RDONLY != 0 {
		access = "read-only"
	}
	return kind + ", " + access
}

// network lists the interfaces, which tell more than the namespace's number.
func network() string {
	body, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return "unknown"
	}
	var names []string
	for line := range strings.Lines(string(body)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) == 0 {
		return "no interface"
	}
	return strings.Join(names, " ")
}

func namespaces() string {
	var all []string
	for _, name := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			continue
		}
		if _, id, ok := strings.Cut(link, ":"); ok {
			all = append(all, name+" "+strings.Trim(id, "[]"))
		}
	}
	if len(all) == 0 {
		return "unknown"
	}
	var lines []string
	for ; len(all) > 3; all = all[3:] {
		lines = append(lines, strings.Join(all[:3], ", "))
	}
	return strings.Join(append(lines, strings.Join(all, ", ")), "\n")
}
