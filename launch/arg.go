package launch

// Arg is an argument of an operation, or a word of a structure that it points
// to. A program has a thousand of them, so it is small.
type Arg struct {
	kind  argKind
	value uint64 // argInt: the number; argResult: the Slot; argBuffer: its id
	text  string // argString: the string; argBytes: the bytes; argInput: the name; argInt: how to print it
	words *[]Arg // argStrings, argWords
}

type argKind uint8

const (
	argInt     argKind = iota // a number
	argString                 // pointer to a NUL-terminated string
	argBytes                  // pointer to bytes
	argStrings                // pointer to an array of strings, as for execve
	argWords                  // pointer to a structure of 64-bit words
	argBuffer                 // pointer to memory shared by several operations
	argResult                 // result of an earlier operation
	argInput                  // a descriptor from the parent
)

// Int is a number.
func Int[T ~int | ~int32 | ~int64 | ~uint | ~uint16 | ~uint32 | ~uint64 | ~uintptr](v T) Arg {
	return Arg{kind: argInt, value: uint64(v)}
}

// Flags is a number that is printed by name.
func Flags[T ~int | ~uint | ~uint64 | ~uint32 | ~uintptr](v T, name string) Arg {
	return Arg{kind: argInt, value: uint64(v), text: name}
}

// String is a pointer to the string, terminated by NUL.
func String(s string) Arg { return Arg{kind: argString, text: s} }

// Bytes is a pointer to a copy of b.
func Bytes(b []byte) Arg { return Arg{kind: argBytes, text: string(b)} }

// Strings is a pointer to an array of pointers to strings, ended by a null
// pointer: what execve takes.
func Strings(list []string) Arg {
	words := make([]Arg, len(list))
	for i, text := range list {
		words[i] = String(text)
	}
	return Arg{kind: argStrings, words: &words}
}

// Words is a pointer to a structure whose fields are 64-bit words, each an Arg
// of its own: struct open_how, mount_attr, iovec, msghdr and the like.
func Words(fields ...Arg) Arg { return Arg{kind: argWords, words: &fields} }

// Buffer is a pointer to 512 bytes of zeroed memory; operations that name the
// same id share it. One call fills it, a Check reads it.
func Buffer(id int) Arg { return Arg{kind: argBuffer, value: uint64(id)} }

// bufferSize holds the largest structure that a call fills in: struct statfs
// (120 bytes), struct statx (256).
const bufferSize = 512

// Result is what an earlier operation returned.
func Result(s Slot) Arg { return Arg{kind: argResult, value: uint64(s)} }

// Input is a descriptor that the parent gives to the child by name.
func Input(name string) Arg { return Arg{kind: argInput, text: name} }
