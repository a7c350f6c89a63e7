package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"
)

// value is a flag whose words go straight to where they are kept.
type value struct {
	kind string // in the help: list, bytes, …
	set  func(word string) error
}

func (v value) String() string        { return "" }
func (v value) Type() string          { return v.kind }
func (v value) Set(word string) error { return v.set(word) }

// repeated is a value of a flag that may be given again, and that completion
// therefore offers again.
type repeated struct{ value }

// GetSlice is what cobra knows such a flag by.
func (repeated) GetSlice() []string { return nil }

// appendTo is a flag that may be repeated, each word of which parse turns into
// an element of list.
func appendTo[T any](list *[]T, parse func(string) (T, error)) pflag.Value {
	return repeated{value{"list", func(word string) error {
		v, err := parse(word)
		if err == nil {
			*list = append(*list, v)
		}
		return err
	}}}
}

// list is a flag that may be repeated.
func list(to *[]string) pflag.Value {
	return appendTo(to, func(word string) (string, error) { return word, nil })
}

// pairs is a flag that may be repeated: KEY=VALUE, and KEY alone has an empty
// value.
func pairs(m *map[string]string) pflag.Value {
	return repeated{value{"map", func(word string) error {
		key, v, _ := strings.Cut(word, "=")
		if key == "" {
			return fmt.Errorf("write KEY=VALUE")
		}
		put(m, key, v)
		return nil
	}}}
}

// put sets a key of a map that may not be there yet.
func put(m *map[string]string, key, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = v
}

// size is a number of bytes such as 64m; with unlimited, -1 too.
func size(n *int64, unlimited bool) pflag.Value {
	return value{"bytes", func(word string) (err error) {
		if unlimited && word == "-1" {
			*n = -1
			return nil
		}
		*n, err = units.RAMInBytes(word)
		return err
	}}
}

// cpus is a number of CPUs such as 1.5, kept in billionths.
func cpus(nano *int64) pflag.Value {
	return value{"decimal", func(word string) error {
		n, err := strconv.ParseFloat(word, 64)
		if err != nil || n < 0 || n > 1<<20 {
			return fmt.Errorf("'%s' is not a number of CPUs", word)
		}
		*nano = int64(math.Round(n * 1e9))
		return nil
	}}
}

// number is a whole number that is kept only when it was given.
func number[T int | int64](n **T) pflag.Value {
	return value{"int", func(word string) error {
		parsed, err := strconv.ParseInt(word, 10, strconv.IntSize)
		if err != nil {
			return fmt.Errorf("'%s' is not a whole number", word)
		}
		i := T(parsed)
		*n = &i
		return nil
	}}
}

// appendAll is a flag that may be repeated, each word of which parse turns into
// several elements of list.
func appendAll[T any](list *[]T, parse func(string) ([]T, error)) pflag.Value {
	return repeated{value{"list", func(word string) error {
		v, err := parse(word)
		*list = append(*list, v...)
		return err
	}}}
}

// parsed is a word that parse turns into what is kept.
func parsed[T any](to *T, parse func(string) (T, error)) pflag.Value {
	return value{"string", func(word string) (err error) {
		*to, err = parse(word)
		return err
	}}
}
