package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"loper.run/test/env"
)

// serveEach serves each connection until the listener is closed.
func serveEach(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// echo answers connections in the container: who they are from, and what they say.
func echo(t testing.TB, w *world) {
	for _, a := range []string{containerAddress, containerAddress6} {
		l := listen(t, w.container, net.JoinHostPort(a, "80"))
		go serveEach(l, func(c net.Conn) {
			fmt.Fprintf(c, "%s\n", c.RemoteAddr())
			io.Copy(c, c)
		})
	}
}

// told does what the first byte of a connection says: takes all, gives without end, or gives back.
func told(c net.Conn) {
	word := make([]byte, 128<<10)
	if _, err := io.ReadFull(c, word[:1]); err != nil {
		return
	}
	switch word[0] {
	case '<':
		for {
			if _, err := c.Read(word); err != nil {
				return
			}
		}
	case '>':
		for {
			if _, err := c.Write(word); err != nil {
				return
			}
		}
	default:
		io.Copy(c, c)
	}
}

// manyConnections makes many connections at a time and one after the other. Each says a word, which has to come back
// after a greeting.
func manyConnections(t *testing.T, from *env.Netns, address func(i int) string, greeting func(net.Conn) string) {
	const workers, rounds = 20, 25
	var all sync.WaitGroup
	begun := time.Now()
	for i := range workers {
		all.Go(func() {
			for j := range rounds {
				c, err := dial(from, "tcp", address(j))
				if err != nil {
					t.Error(err)
					return
				}
				word := fmt.Sprintf("connection %d of %d", j, i)
				io.WriteString(c, word)
				c.(*net.TCPConn).CloseWrite()
				if data, err := io.ReadAll(c); string(data) != greeting(c)+word || err != nil {
					t.Errorf("%d of %d: %q, %v", j, i, data, err)
				}
				c.Close()
			}
		})
	}
	all.Wait()
	t.Logf("%s a connection", time.Since(begun)/(workers*rounds))
}
