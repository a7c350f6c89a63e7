package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// row is one line of the table.
type row struct {
	what, ours, theirs, peer, ratio, best, target string
}

// compare adds a row of ours against a peer's.
func (b *bench) compare(what string, all map[string]times, ours, peer, target string) {
	o, p := all[ours], all[peer]
	if len(o) == 0 || len(p) == 0 {
		return
	}
	b.add(row{
		what: what, ours: milliseconds(o.median()), theirs: milliseconds(p.median()), peer: peer, target: target,
		ratio: fmt.Sprintf("%.2f", float64(o.median())/float64(p.median())), best: fmt.Sprintf("%.2f", float64(o.least())/float64(p.least())),
	})
}

// goal is how much of a peer's time ours may take.
type goal struct{ peer, target string }

// beside measures the contenders, of which loper is one, and adds a row for each peer.
func (b *bench) beside(what string, n int, contenders []contender, goals ...goal) error {
	all, err := inTurns(n, contenders)
	if err != nil {
		return err
	}
	for _, g := range goals {
		b.compare(what, all, "loper", g.peer, g.target)
	}
	return nil
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Printf("%-62s %10s  %-42s %10s  %6s %6s  %s\n", r.what, r.ours, r.peer, r.theirs, r.ratio, r.best, r.target)
}

func milliseconds(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

const (
	begin = "<!-- make bench writes from here -->"
	end   = "<!-- to here -->"
)

// print writes the table into the document, between two comments.
func (b *bench) print() error {
	lines := [][]string{{"what", "Loper", "peer", "takes", "ratio", "of bests", "goal"}}
	for _, r := range b.rows {
		lines = append(lines, []string{r.what, r.ours, strings.ReplaceAll(r.peer, "|", "\\|"), r.theirs, r.ratio, r.best, r.target})
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Measured on %s with %s. Medians, the\ncontenders in turns; the ratio of the fastest runs of both tells what a busy machine adds.\n\n%s", time.Now().UTC().Format("2006-01-02"), machine(), markdown(lines))
	fmt.Printf("\n%s", text.String())
	if b.write == "" || b.only != "" {
		return nil
	}
	data, err := os.ReadFile(b.write)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no place for the table", b.write)
	}
	return os.WriteFile(b.write, []byte(before+begin+"\n"+text.String()+end+after), 0o644)
}

// markdown aligns the cells.
func markdown(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for n, l := range lines {
		for i, cell := range l {
			text.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
		}
		text.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				text.WriteString("|" + strings.Repeat("-", w+2))
			}
			text.WriteString("|\n")
		}
	}
	return text.String()
}

// machine is what the figures depend on.
func machine() string {
	var uts syscall.Utsname
	syscall.Uname(&uts)
	var release []byte
	for _, c := range uts.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	parts := []string{fmt.Sprintf("kernel %s", release), fmt.Sprintf("%d cores", runtime.NumCPU()), runtime.Version()}
	for _, argv := range [][]string{{"crun", "--version"}, {"runc", "--version"}, {"podman", "--version"}, {"conmon", "--version"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil {
			line, _, _ := strings.Cut(string(out), "\n")
			parts = append(parts, strings.NewReplacer(" version", "").Replace(line))
		}
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil { // of the last 15 minutes: what else the machine did
		parts = append(parts, "load "+strings.Fields(string(load))[2])
	}
	return strings.Join(parts, ", ")
}
