package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// results turns the machine's output into go test -json's: between 'vm: begin' and 'vm: done' stands what one test program
// said. It tells whether the machine came to its end.
func results(from io.Reader, to io.Writer, m machine) (ended bool, err error) {
	in := bufio.NewReaderSize(from, 1<<20)
	var now *converter
	for {
		line, readErr := in.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		words := strings.Fields(text)
		switch {
		case len(words) < 2 || words[0] != "vm:":
			if now != nil {
				_, err = io.WriteString(now.in, line)
			}
		case words[1] == "begin" && len(words) == 4:
			now, err = newConverter(to, m, words[2], words[3])
		case words[1] == "done" && len(words) == 3 && now != nil:
			err = now.close(words[2])
			now = nil
		case words[1] == "end":
			ended = true
		default:
			progress("Linux %s: %s", m, strings.Join(words[1:], " "))
		}
		if readErr != nil || err != nil {
			break
		}
	}
	if now != nil {
		err = now.close("the machine's end")
	}
	return ended, err
}

// converter passes one test program's output through go tool test2json.
type converter struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	to   io.Writer
}

func newConverter(to io.Writer, m machine, who, dir string) (*converter, error) {
	c := &converter{to: to, name: fmt.Sprintf("loper.run/%s (%s, %s)", dir, m, who)}
	c.cmd = exec.Command("go", "tool", "test2json", "-t", "-p", c.name)
	c.cmd.Stdout, c.cmd.Stderr = to, os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

// close ends the conversion. A program that failed without a failed test, as by a panic or a signal, fails the package.
func (c *converter) close(status string) error {
	c.in.Close()
	err := c.cmd.Wait()
	if status == "0" || err != nil {
		return err
	}
	for _, e := range []map[string]string{
		{"Action": "output", "Package": c.name, "Output": fmt.Sprintf("FAIL\t%s\tstatus %s\n", c.name, status)},
		{"Action": "fail", "Package": c.name},
	} {
		if err := json.NewEncoder(c.to).Encode(e); err != nil {
			return err
		}
	}
	return nil
}
