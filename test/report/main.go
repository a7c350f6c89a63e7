// Report reads the output of go test -json and prints it for people: one line a package, the whole output of
// tests that fail, and at the end every skipped test grouped by its reason, so that no skip goes unseen.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	r := newReport(os.Stdout, os.Getenv("LOPER_TEST_VERBOSE") != "")
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
