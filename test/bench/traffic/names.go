package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names looks names up, each a NAME=ADDRESS that is to be answered, in turns and with pauses, from a moment on. It prints
// the nanoseconds that each look-up took, a line each, or what was wrong with it.
func names(begin, count, pause string, wanted []string) error {
	from, err := strconv.ParseInt(begin, 10, 64)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	gap, err := time.ParseDuration(pause)
	if err != nil {
		return err
	}
	server, err := nameserver()
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	time.Sleep(time.Until(time.UnixMilli(from)))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for i := range n {
		name, want, _ := strings.Cut(wanted[i%len(wanted)], "=")
		took, err := ask(c, uint16(i), name, want)
		if err != nil {
			fmt.Fprintf(out, "wrong: %s: %v\n", name, err)
		} else {
			fmt.Fprintln(out, took.Nanoseconds())
		}
		time.Sleep(gap/2 + rand.N(gap))
	}
	return nil
}

// nameserver is the container's first.
func nameserver() (string, error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			return net.JoinHostPort(fields[1], "53"), nil
		}
	}
	return "", fmt.Errorf("no nameserver in /etc/resolv.conf")
}

// ask looks one name up.
func ask(c net.Conn, id uint16, name, want string) (time.Duration, error) {
	host, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return 0, err
	}
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: host, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := q.Pack()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if _, err := c.Write(packet); err != nil {
		return 0, err
	}
	c.SetReadDeadline(begun.Add(5 * time.Second))
	buf := make([]byte, 4096)
	for {
		size, err := c.Read(buf)
		took := time.Since(begun)
		if err != nil {
			return 0, err
		}
		var a dnsmessage.Message
		if err := a.Unpack(buf[:size]); err != nil {
			return 0, err
		}
		if a.ID != id {
			continue // the answer to one that was given up
		}
		for _, r := range a.Answers {
			if body, ok := r.Body.(*dnsmessage.AResource); ok && netip.AddrFrom4(body.A).String() == want {
				return took, nil
			}
		}
		return 0, fmt.Errorf("answered %v with %d records", a.RCode, len(a.Answers))
	}
}
