// Traffic measures what a network does to TCP between two programs: how many bytes a second, and how long an answer takes;
// and how long names take to be resolved.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 3 && args[0] == "stream":
		return stream(args[1], args[2])
	case len(args) == 3 && args[0] == "answers":
		return answers(args[1], args[2])
	case len(args) > 4 && args[0] == "names":
		return names(args[1], args[2], args[3], args[4:])
	}
	return fmt.Errorf("usage: traffic serve ADDRESS | stream ADDRESS SECONDS | answers ADDRESS COUNT | names BEGIN COUNT PAUSE NAME=ADDRESS…")
}

// serve takes connections for ever. A first byte 's' says that what follows is thrown away, 'a' that each byte is answered.
func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			b := make([]byte, 256<<10)
			if _, err := io.ReadFull(c, b[:1]); err != nil {
				return
			}
			answer := b[0] == 'a'
			var taken int64
			for {
				n, err := c.Read(b)
				taken += int64(n)
				if err != nil {
					fmt.Fprintln(c, taken) // the reader knows how much arrived, not how much was sent
					return
				}
				if answer {
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			}
		}()
	}
}

// stream prints how many bytes a second arrive.
func stream(address, seconds string) error {
	length, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 128<<10)
	b[0] = 's'
	if _, err := c.Write(b[:1]); err != nil {
		return err
	}
	begun := time.Now()
	for time.Since(begun) < time.Duration(length*float64(time.Second)) {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	var taken int64
	if _, err := fmt.Fscan(c, &taken); err != nil {
		return err
	}
	fmt.Printf("%.0f\n", float64(taken)/time.Since(begun).Seconds())
	return nil
}

// answers prints the median time, in nanoseconds, from a byte to its answer.
func answers(address, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{'a'}
	if _, err := c.Write(b); err != nil {
		return err
	}
	took := make([]time.Duration, n)
	for i := range took {
		begun := time.Now()
		if _, err := c.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	fmt.Println(took[n/2].Nanoseconds())
	return nil
}
