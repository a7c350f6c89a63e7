// Package launch starts processes by a program of system calls.
//
// A Program is plain data: a flat list of operations that a compiler made
// beforehand, in the parent, with everything that can be known there. Start
// forks once and the child walks the list, without allocating, without the Go
// scheduler and without a second start of any binary. The last operation is
// the execve of the program that was wanted in the first place.
//
// Because it is data, a Program can be printed, compared with a golden file
// and reasoned about on a machine that could not run it. Jumps only go
// forward, so every Program ends.
//
// All unsafe code of the project lives here.
package launch

import "syscall"

// Program is what a forked child does until it becomes another program.
type Program struct {
	// Namespaces holds the CLONE_NEW… flags that the child starts with.
	Namespaces uintptr
	// Preserve is how many descriptors from 3 on the child keeps besides its
	// inputs and the standard streams. It closes all others at once.
	Preserve int
	// Ops are walked in order.
	Ops []Op

	slots   Slot // the last one given out
	buffers int  // how many were given out
}

// Op is one system call, or one of the few steps that are none (see Call).
type Op struct {
	Call Call
	// Args are up to six arguments; missing ones are zero.
	Args []Arg
	// Result, when not None, names the place where later operations find
	// what the call returned.
	Result Slot
	// Want, when set, is the only return value that counts as success.
	Want *int64
	// Skip is how many of the following operations are left out when the
	// call succeeds.
	Skip int
	// Accept lists errors that do not end the program.
	Accept []Accept
	// Text says to people what the operation is for, as in "mount proc on
	// /proc". It becomes the error message.
	Text string
	// Field is the place in config.json that asked for it, as in "mounts[0]".
	Field string
}

// Accept lets the program go on after an error of the call.
type Accept struct {
	Errno syscall.Errno
	// Skip is how many of the following operations are left out then.
	Skip int
}

// Slot names the result of an operation.
type Slot int

// None is the Slot of a result that nobody needs.
const None Slot = 0

// Add appends operations and returns the index of the last one.
func (p *Program) Add(ops ...Op) int {
	p.Ops = append(p.Ops, ops...)
	return len(p.Ops) - 1
}

// NewSlot returns a Slot that no operation of the program uses yet.
func (p *Program) NewSlot() Slot {
	p.slots++
	return p.slots
}

// NewBuffer returns memory that no operation of the program uses yet.
func (p *Program) NewBuffer() Arg {
	p.buffers++
	return Buffer(p.buffers)
}

// Inputs lists the names of the descriptors that the program needs from its
// parent, in the order of their first use.
func (p *Program) Inputs() []string {
	var names []string
	seen := map[string]bool{}
	var visit func(a Arg)
	visit = func(a Arg) {
		if a.kind == argInput && !seen[a.text] {
			seen[a.text] = true
			names = append(names, a.text)
		}
		if a.kind == argWords {
			for _, w := range *a.words {
				visit(w)
			}
		}
	}
	for _, op := range p.Ops {
		for _, a := range op.Args {
			visit(a)
		}
	}
	return names
}
