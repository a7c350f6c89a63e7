package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

//go:generate go test -run TestDocs . -update

var update = flag.Bool("update", false, "write the generated documentation")

// TestDocs compares the manual pages and completion scripts below docs with
// what the commands say now; with -update it writes them.
func TestDocs(t *testing.T) {
	const docs = "../../docs"
	pages := manual(t)
	for shell, script := range map[string]func() string{"bash": bash, "zsh": zsh, "fish": fish} {
		pages["completion/lope."+shell] = []byte(script())
	}
	for name, text := range pages {
		path := filepath.Join(docs, name)
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the commands say: run go generate ./cmd/lope (%v)", name, err)
		}
	}
	entries, err := filepath.Glob(docs + "/man/lope-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if pages["man/"+filepath.Base(e)] == nil {
			t.Errorf("%s is of no command: remove it", e)
		}
	}
}

// globalFlags are as root has them.
func globalFlags() *pflag.FlagSet {
	f := (&global{}).flags()
	f.Lookup("root").DefValue = "/run/lope"
	return f
}

// manual writes the pages by way of another library's commands.
func manual(t *testing.T) map[string][]byte {
	t.Helper()
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{
		Use: "lope [flags] COMMAND", Short: "An OCI runtime", DisableAutoGenTag: true, Run: run,
		Long: "Lope runs containers from OCI bundles, as containerd, CRI-O, Docker and Podman ask their runtime to. Its commands, flags and outputs are runc's.",
	}
	root.PersistentFlags().AddFlagSet(globalFlags())
	root.PersistentFlags().SortFlags = false
	for _, make := range commands() {
		c := make()
		long := c.long
		if long == "" {
			long = c.short + "."
		}
		sub := &cobra.Command{Use: strings.TrimSpace(c.name + " [flags] " + c.args), Short: c.short, Long: long, Run: run, DisableFlagsInUseLine: true}
		sub.Flags().SortFlags = false
		sub.Flags().AddFlagSet(c.flagSet())
		root.AddCommand(sub)
	}
	root.CompletionOptions.DisableDefaultCmd = true
	dir := t.TempDir()
	date := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Title: "LOPE", Section: "1", Source: "Loper", Manual: "Loper's commands", Date: &date}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string][]byte{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages["man/"+e.Name()] = text
	}
	return pages
}

// long lists flags as people type them.
func long(f *pflag.FlagSet) string {
	var all []string
	f.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			all = append(all, "--"+f.Name)
		}
	})
	return strings.Join(append(all, "--help"), " ")
}

func names() string {
	var all []string
	for _, make := range commands() {
		all = append(all, make().name)
	}
	return strings.Join(all, " ")
}

// words finds the command, and its flags: shell that bash and zsh understand.
func words(array, last string, first int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tlocal i command= flags=\n\tlocal -a root\n\tfor ((i = %d; i < %s; i++)); do\n\t\tcase ${%s[i]} in\n", first, last, array)
	fmt.Fprintf(&b, "\t\t--root) root=(--root \"${%s[++i]}\") ;;\n", array)
	var others []string
	globalFlags().VisitAll(func(f *pflag.Flag) {
		if f.NoOptDefVal == "" && f.Name != "root" {
			others = append(others, "--"+f.Name)
		}
	})
	fmt.Fprintf(&b, "\t\t%s) ((i++)) ;;\n\t\t-*) ;;\n\t\t*) command=${%s[i]}; break ;;\n\t\tesac\n\tdone\n\tcase $command in\n", strings.Join(others, " | "), array)
	fmt.Fprintf(&b, "\t'') flags=%q ;;\n", long(globalFlags()))
	for _, make := range commands() {
		c := make()
		fmt.Fprintf(&b, "\t%s) flags=%q ;;\n", c.name, long(c.flagSet()))
	}
	b.WriteString("\tesac\n")
	return b.String()
}

const ids = `$(lope "${root[@]}" list --quiet 2>/dev/null)`

func bash() string {
	return "# bash completion for lope\n_lope() {\n" + words("COMP_WORDS", "COMP_CWORD", 1) +
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n\tCOMPREPLY=()\n\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n" +
		"\telif [[ -z $command ]]; then\n\t\tCOMPREPLY=($(compgen -W \"" + names() + "\" -- \"$cur\"))\n" +
		"\telse\n\t\tCOMPREPLY=($(compgen -W \"" + ids + "\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n\tfi\n}\ncomplete -F _lope lope\n"
}

func zsh() string {
	return "#compdef lope\n_lope() {\n" + words("words", "CURRENT", 2) +
		"\tif [[ ${words[CURRENT]} == -* ]]; then\n\t\tcompadd -- ${=flags}\n" +
		"\telif [[ -z $command ]]; then\n\t\tcompadd -- " + names() + "\n" +
		"\telse\n\t\tcompadd -- ${=$(lope $root list --quiet 2>/dev/null)}\n\t\t_files\n\tfi\n}\n_lope \"$@\"\n"
}

func fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion for lope\nfunction __lope_ids\n\tlope list --quiet 2>/dev/null\nend\n")
	describe := func(f *pflag.Flag, condition string) {
		if f.Hidden {
			return
		}
		fmt.Fprintf(&b, "complete -c lope -n %q -l %s", condition, f.Name)
		if f.Shorthand != "" {
			fmt.Fprintf(&b, " -s %s", f.Shorthand)
		}
		if f.NoOptDefVal == "" {
			fmt.Fprint(&b, " -r")
		}
		fmt.Fprintf(&b, " -d %q\n", f.Usage)
	}
	globalFlags().VisitAll(func(f *pflag.Flag) { describe(f, "__fish_use_subcommand") })
	for _, make := range commands() {
		c := make()
		fmt.Fprintf(&b, "complete -c lope -n __fish_use_subcommand -f -a %s -d %q\n", c.name, c.short)
		here := "__fish_seen_subcommand_from " + c.name
		if strings.Contains(c.args, "ID") {
			fmt.Fprintf(&b, "complete -c lope -n %q -a '(__lope_ids)'\n", here)
		}
		c.flagSet().VisitAll(func(f *pflag.Flag) { describe(f, here) })
	}
	return b.String()
}

// The script for bash works in a bash, and the others' shells can read theirs.
func TestBashCompletion(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs the program bash")
	}
	script, err := filepath.Abs("../../docs/completion/lope.bash")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"lope sta":                  "start state",
		"lope --root /x kil":        "kill",
		"lope --root /x --cgroup-m": "--cgroup-manager",
		"lope delete --f":           "--force",
		"lope exec --no-":           "--no-new-privs",
		"lope run c --nothing":      "",
	} {
		words := strings.Fields(line)
		code := fmt.Sprintf("lope() { :; }; source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _lope; echo ${COMPREPLY[*]}", script, line, len(words)-1)
		out, err := exec.Command("bash", "-c", code).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s<TAB>: %q, want %q (%v)", line, got, want, err)
		}
	}
	for shell, flag := range map[string]string{"zsh": "-n", "fish": "--no-execute"} {
		if _, err := exec.LookPath(shell); err == nil {
			if out, err := exec.Command(shell, flag, "../../docs/completion/lope."+shell).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
}
