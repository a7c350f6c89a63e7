package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"loper.run/container"
)

// Flags are what costs at the start: no command may pay for those of others.
func TestOnlyTheNamedCommandIsBuilt(t *testing.T) {
	for _, line := range []string{"version", "--root /x ps -a", "--log-level=debug run -it host", "image ls -q", "container list", "volume rm data"} {
		root := (&cli{}).command(strings.Fields(line))
		built := 0
		var count func(*cobra.Command)
		count = func(cmd *cobra.Command) {
			for _, sub := range cmd.Commands() {
				if !sub.HasSubCommands() {
					built++
				}
				count(sub)
			}
		}
		if count(root); built != 1 {
			t.Errorf("loper %s builds %d commands", line, built)
		}
	}
	if n := len((&cli{}).command([]string{"nonsense"}).Commands()); n < 25 {
		t.Errorf("an unknown command sees only %d commands to suggest", n)
	}
}

// Every command says what it is for, and so does every flag, in the same style.
func TestCommandsAreDescribed(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || cmd.Short[0] < 'A' || cmd.Short[0] > 'Z' {
			t.Errorf("%s: description %q", name, cmd.Short)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: description %q", name, f.Name, f.Usage)
			}
		})
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check((&cli{}).command(nil))
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HERE", "value")
	got, err := environment(nil, []string{"A=1", "HERE", "NOT_SET_HERE", "B=", "C=x=y"})
	if want := []string{"A=1", "HERE=value", "B=", "C=x=y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, wrong := range []string{"", "=x"} {
		if _, err := environment(nil, []string{wrong}); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90s":                            now.Add(-90 * time.Second),
		"1h30m":                          now.Add(-90 * time.Minute),
		"2026-01-02T03:04:05Z":           time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05.6+01:00":    time.Date(2026, 1, 2, 2, 4, 5, 600000000, time.UTC),
		"2026-01-02":                     time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"2026-01-02T03:04":               time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local),
		"1700000000":                     time.Unix(1700000000, 0),
		"1700000000.5":                   time.Unix(1700000000, 500000000),
		"1700000000.123456789":           time.Unix(1700000000, 123456789),
		"2026-01-02T03:04:05.123456789Z": time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, wrong := range []string{"", "soon", "12.", "12.x", "-", "1.2.3", "99999999999999999999"} {
		if got, err := parseTime(wrong, now); err == nil {
			t.Errorf("%q is read as %v", wrong, got)
		}
	}
}

func TestStatusText(t *testing.T) {
	now := time.Now()
	for want, s := range map[string]container.Status{
		"Created":                           {State: container.Created},
		"Up 5 seconds":                      {State: container.Running, StartedAt: now.Add(-5 * time.Second)},
		"Up 2 hours (Paused)":               {State: container.Paused, StartedAt: now.Add(-2 * time.Hour)},
		"Exited (137) About a minute ago":   {State: container.Exited, ExitCode: 137, FinishedAt: now.Add(-time.Minute)},
		"Exited (0) Less than a second ago": {State: container.Exited, FinishedAt: now},
		"Removal In Progress":               {State: container.Removing},
	} {
		if got := statusText(s, now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCommandText(t *testing.T) {
	for _, c := range []struct {
		args  []string
		whole bool
		want  string
	}{
		{[]string{"sh"}, false, `"sh"`},
		{[]string{"sh", "-c", "echo hi"}, false, `"sh -c 'echo hi'"`},
		{[]string{"/usr/bin/a-long-name", "and more"}, false, `"/usr/bin/a-long-nam…"`},
		{[]string{"/usr/bin/a-long-name", "and more"}, true, `"/usr/bin/a-long-name 'and more'"`},
		{[]string{"echo", "\x1b[31m"}, false, `"echo \x1b[31m"`},
	} {
		if got := commandText(c.args, c.whole); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
}

func TestSplitTag(t *testing.T) {
	for name, want := range map[string][2]string{
		"busybox:1":                {"busybox", "1"},
		"busybox":                  {"busybox", "<none>"},
		"localhost:5000/a/b":       {"localhost:5000/a/b", "<none>"},
		"localhost:5000/a/b:v1":    {"localhost:5000/a/b", "v1"},
		"example.com/busybox:late": {"example.com/busybox", "late"},
	} {
		if r, tag := splitTag(name); r != want[0] || tag != want[1] {
			t.Errorf("%s: got %s and %s", name, r, tag)
		}
	}
}

func TestValues(t *testing.T) {
	n := &creation{}
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	n.flags(f)
	args := strings.Fields("-it --rm -m 64m --memory-swap -1 --cpus 1.5 --stop-timeout 0 --oom-score-adj -5 --sysctl a=b=c --tmpfs /x:size=1m --tmpfs /y -e A=1 -e B host -e not")
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	s := n.Settings
	if !s.OpenStdin || !s.Terminal || !s.AutoRemove || s.Memory != 64<<20 || s.MemorySwap != -1 || s.NanoCPUs != 1_500_000_000 ||
		s.StopTimeout == nil || *s.StopTimeout != 0 || *s.OomScoreAdj != -5 || s.Sysctls["a"] != "b=c" ||
		s.Tmpfs["/x"] != "size=1m" || len(s.Tmpfs) != 2 || !slices.Equal(n.env, []string{"A=1", "B"}) {
		t.Errorf("got %+v", s)
	}
	if !slices.Equal(f.Args(), []string{"host", "-e", "not"}) {
		t.Errorf("words after the image are taken for flags: %q", f.Args())
	}
}

func TestOneLine(t *testing.T) {
	if got, want := oneLine("a\nb\x1b[2J\u009bc\r\n\n"), "a; b\ufffd[2J\ufffdc\ufffd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
