package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is an operation with every argument turned into a number: what the
// walker needs and nothing else.
type step struct {
	nr      uintptr
	args    [6]uintptr
	from    [6]uint16      // 1 + index of the slot that an argument comes from; 0: none
	memory  unsafe.Pointer // what a Check or Load reads, what a Place or CopyTree works with
	patches []patch        // words in memory that come from slots
	accept  [4]accepted
	want    uintptr
	result  uint16
	skip    uint16
	accepts uint8
	kind    stepKind
	wants   bool
}

type accepted struct{ errno, skip uint16 }

type patch struct {
	word *uintptr
	slot uint16
}

// image is an assembled program. It keeps alive the memory that its numbers
// point to.
type image struct {
	steps   []step
	slots   []uintptr
	buffers map[uint64][]uint64
	placing *placing
	copying *treeCopy
	memory  [][]uint64 // what arguments point to
	free    []uint64   // the end of the last one, not given out
	inputs  map[string]int
	skin    *skin
}

// assemble gives every pointer its memory and every name its descriptor.
func assemble(p *Program, inputs map[string]*os.File) (*image, error) {
	if len(p.Ops) == 0 || len(p.Ops) > 1<<15 {
		return nil, fmt.Errorf("a program of %d operations", len(p.Ops))
	}
	im := &image{
		steps:   make([]step, len(p.Ops)),
		buffers: map[uint64][]uint64{},
		inputs:  make(map[string]int, len(inputs)),
	}
	for name, f := range inputs {
		if f != nil {
			im.inputs[name] = int(f.Fd())
		}
	}
	highest := None
	for i := range p.Ops {
		highest = max(highest, p.Ops[i].Result)
	}
	im.slots = make([]uintptr, highest+1)
	for i := range p.Ops {
		if err := im.op(&im.steps[i], &p.Ops[i], len(p.Ops)-i-1); err != nil {
			return nil, &ArgumentError{p.Ops[i], err}
		}
	}
	return im, nil
}

func (im *image) op(s *step, op *Op, left int) error {
	if len(op.Args) > len(s.args) || len(op.Accept) > len(s.accept) {
		return errors.New("too many arguments")
	}
	s.nr, s.kind = op.Call.nr, op.Call.step
	if s.kind == stepShed && im.skin == nil {
		var err error
		if im.skin, err = ownSkin(); err != nil {
			return err
		}
	}
	s.result, s.skip = uint16(op.Result), uint16(op.Skip)
	if op.Want != nil {
		s.wants, s.want = true, uintptr(*op.Want)
	}
	if op.Skip < 0 || op.Skip > left {
		return errors.New("a jump out of the program")
	}
	for i, a := range op.Accept {
		if a.Skip < 0 || a.Skip > left {
			return errors.New("a jump out of the program")
		}
		s.accept[i] = accepted{uint16(a.Errno), uint16(a.Skip)}
	}
	s.accepts = uint8(len(op.Accept))
	for i, a := range op.Args {
		if a.kind == argResult {
			if a.value == 0 || a.value >= uint64(len(im.slots)) {
				return fmt.Errorf("no result $%d", a.value)
			}
			s.from[i] = uint16(a.value) + 1
			continue
		}
		v, err := im.value(s, a)
		if err != nil {
			return err
		}
		s.args[i] = v
	}
	switch s.kind {
	case stepCheck, stepLoad:
		return im.readsMemory(s, op.Args)
	case stepPlace:
		if im.placing == nil {
			im.placing = &placing{}
		}
		if len(op.Args) < 2 || len(op.Args[1].text) >= pathMax {
			return unix.ENAMETOOLONG
		}
		s.memory = unsafe.Pointer(&aPlace{im.placing, append([]byte(op.Args[1].text), 0)})
	case stepCopyTree:
		if im.copying == nil {
			im.copying = &treeCopy{}
		}
		s.memory = unsafe.Pointer(im.copying)
	}
	return nil
}

// readsMemory finds the word that a Check or a Load reads.
func (im *image) readsMemory(s *step, args []Arg) error {
	if len(args) < 2 || args[0].kind != argBuffer || args[1].kind != argInt || args[1].value > bufferSize-8 {
		return errors.New("no word in a buffer")
	}
	s.memory = unsafe.Add(unsafe.Pointer(&im.buffers[args[0].value][0]), args[1].value)
	return nil
}

// value returns the number that an argument is, after its memory was filled.
func (im *image) value(s *step, a Arg) (uintptr, error) {
	switch a.kind {
	case argString:
		return im.text(a.text)
	case argBytes:
		return im.pointer(a.text, 0), nil
	case argStrings, argWords:
		room := im.room(len(*a.words) + 1)
		words := unsafe.Slice((*uintptr)(unsafe.Pointer(&room[0])), len(room))
		for i, w := range *a.words {
			if w.kind == argResult {
				if w.value == 0 || w.value >= uint64(len(im.slots)) {
					return 0, fmt.Errorf("no result $%d", w.value)
				}
				s.patches = append(s.patches, patch{&words[i], uint16(w.value)})
				continue
			}
			v, err := im.value(s, w)
			if err != nil {
				return 0, err
			}
			words[i] = v
		}
		return uintptr(unsafe.Pointer(&words[0])), nil
	case argBuffer:
		b, ok := im.buffers[a.value]
		if !ok {
			b = im.room(bufferSize / 8)
			im.buffers[a.value] = b
		}
		return uintptr(unsafe.Pointer(&b[0])), nil
	case argInput:
		fd, ok := im.inputs[a.text]
		if !ok {
			return 0, fmt.Errorf("no descriptor named %q was given", a.text)
		}
		return uintptr(fd), nil
	default:
		return uintptr(a.value), nil
	}
}

// text ends a string by NUL. One inside would make the kernel see another
// string than those who checked it.
func (im *image) text(s string) (uintptr, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return 0, fmt.Errorf("%q contains a NUL byte", s)
	}
	return im.pointer(s, 1), nil
}

// pointer points to a copy of the bytes and so many zeros.
func (im *image) pointer(s string, zeros int) uintptr {
	words := im.room(max(1, (len(s)+zeros+7)/8))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(s)), s)
	return uintptr(unsafe.Pointer(&words[0]))
}

// room gives out zeroed memory. A program needs a thousand small pieces; one
// by one they would be the larger part of what a start allocates.
func (im *image) room(words int) []uint64 {
	if words > len(im.free) {
		im.free = make([]uint64, max(words, 1024))
		im.memory = append(im.memory, im.free)
	}
	piece := im.free[:words:words]
	im.free = im.free[words:]
	return piece
}
