// Package quickjson reads and writes JSON by generated code. What encoding/json
// does first for a type is to build tables for all that it consists of: in a
// command that reads and writes each of its files once, this is most of the work.
//
// Types are marked with easyjson:json. Easyjson's root package is not imported: it
// would link an HTTP client.
package quickjson

import (
	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"
)

// Encode writes a value.
func Encode(v interface{ MarshalEasyJSON(*jwriter.Writer) }) ([]byte, error) {
	var w jwriter.Writer
	v.MarshalEasyJSON(&w)
	return w.BuildBytes()
}

// Decode reads a value, and nothing behind it. Its errors give an offset only.
func Decode(data []byte, v interface{ UnmarshalEasyJSON(*jlexer.Lexer) }) error {
	l := jlexer.Lexer{Data: data}
	v.UnmarshalEasyJSON(&l)
	l.Consumed()
	return l.Error()
}
