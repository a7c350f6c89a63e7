package launch

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// String shows the program a line an operation: its number, the call, the
// accepted errors, where its result goes, and what it is for.
func (p *Program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "clone %s\n", strings.Join(namespaceNames(p.Namespaces), " "))
	for i, op := range p.Ops {
		fmt.Fprintf(&b, "%3d  ", i)
		if op.Result != None {
			fmt.Fprintf(&b, "$%d = ", op.Result)
		}
		b.WriteString(op.callText())
		if op.Want != nil {
			fmt.Fprintf(&b, " == %d", *op.Want)
		}
		if op.Skip > 0 {
			fmt.Fprintf(&b, " ok:+%d", op.Skip)
		}
		for _, a := range op.Accept {
			b.WriteString(" " + a.String())
		}
		if op.Text != "" {
			b.WriteString("  # " + op.Text)
		}
		if op.Field != "" {
			b.WriteString(" [" + op.Field + "]")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// MarshalJSON gives the same as String to programs.
func (p *Program) MarshalJSON() ([]byte, error) {
	type jsonOp struct {
		Call   string   `json:"call"`
		Args   []string `json:"args,omitempty"`
		Result Slot     `json:"result,omitempty"`
		Want   *int64   `json:"want,omitempty"`
		Skip   int      `json:"skip,omitempty"`
		Accept []string `json:"accept,omitempty"`
		Text   string   `json:"text,omitempty"`
		Field  string   `json:"field,omitempty"`
	}
	ops := make([]jsonOp, len(p.Ops))
	for i, op := range p.Ops {
		j := jsonOp{Call: op.Call.Name, Result: op.Result, Want: op.Want, Skip: op.Skip, Text: op.Text, Field: op.Field}
		for _, a := range op.Args {
			j.Args = append(j.Args, a.String())
		}
		for _, a := range op.Accept {
			j.Accept = append(j.Accept, a.String())
		}
		ops[i] = j
	}
	return json.Marshal(struct {
		Namespaces []string `json:"namespaces"`
		Inputs     []string `json:"inputs"`
		Ops        []jsonOp `json:"ops"`
	}{namespaceNames(p.Namespaces), p.Inputs(), ops})
}

func (op Op) callText() string {
	args := make([]string, len(op.Args))
	for i, a := range op.Args {
		args[i] = a.String()
	}
	return op.Call.Name + "(" + strings.Join(args, ", ") + ")"
}

// String shows an accepted error as its name and the operations left out.
func (a Accept) String() string {
	s := unix.ErrnoName(a.Errno)
	if a.Skip > 0 {
		s += ":+" + strconv.Itoa(a.Skip)
	}
	return s
}

// String shows the argument as a person would write it.
func (a Arg) String() string {
	switch a.kind {
	case argInt:
		switch {
		case a.text != "":
			return a.text
		case int64(a.value) < 0:
			return strconv.FormatInt(int64(a.value), 10)
		case a.value > 9 && a.value&(a.value-1) == 0:
			return "0x" + strconv.FormatUint(a.value, 16)
		}
		return strconv.FormatUint(a.value, 10)
	case argString:
		return strconv.Quote(a.text)
	case argBytes:
		return fmt.Sprintf("<%d bytes>", len(a.text))
	case argStrings:
		return "[" + strings.Join(a.each(), " ") + "]"
	case argWords:
		return "{" + strings.Join(a.each(), ", ") + "}"
	case argBuffer:
		return fmt.Sprintf("buffer%d", a.value)
	case argResult:
		return fmt.Sprintf("$%d", a.value)
	default:
		return "@" + a.text
	}
}

// each shows the words that an argument points to.
func (a Arg) each() []string {
	words := make([]string, len(*a.words))
	for i, w := range *a.words {
		words[i] = w.String()
	}
	return words
}

func namespaceNames(flags uintptr) []string {
	names := []string{}
	for _, n := range []struct {
		flag uintptr
		name string
	}{
		{unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWNS, "mount"},
		{unix.CLONE_NEWNET, "network"}, {unix.CLONE_NEWIPC, "ipc"}, {unix.CLONE_NEWUTS, "uts"},
		{unix.CLONE_NEWCGROUP, "cgroup"}, {unix.CLONE_NEWTIME, "time"},
	} {
		if flags&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}
