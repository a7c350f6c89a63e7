// Report reads the output of go test -json and prints it for people: one line a package, the whole output of
// tests that fail, and at the end every skipped test grouped by its reason, so that no skip goes unseen. With -skips FILE
// a test that skips for a reason which no line of the file begins fails.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "file of the reasons for which a test may skip")
	flag.Parse()
	r := newReport(os.Stdout, os.Getenv("LOPER_TEST_VERBOSE") != "")
	if *skips != "" {
		var err error
		if r.allowed, err = reasons(*skips); err != nil {
			fmt.Fprintln(os.Stderr, "test/report:", err)
			os.Exit(1)
		}
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			break
		}
	}
	r.close()
	if r.failed() {
		fmt.Println("FAIL")
		os.Exit(1)
	}
}

// reasons reads a file of reasons, one a line, with comments.
func reasons(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := []string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, nil
}
