package dns

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A question by TCP is asked by TCP, however long the answer is.
func TestForwardByTCP(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	long := strings.Repeat("x", 250)
	s.set(func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte {
		m := respond(q, dnsmessage.RCodeSuccess)
		h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}
		for range 200 {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.TXTResource{TXT: []string{long}}})
		}
		full := pack(m)
		if transport == "udp" {
			m.Truncated, m.Answers = true, m.Answers[:1]
			return [][]byte{pack(m)}
		}
		return [][]byte{full}
	})
	m := g.exchange(message(1, "big.example.", dnsmessage.TypeTXT, 0), time.Second)
	if got := describe(t, m, 1, "big.example."); got != "Success truncated TypeTXT" {
		t.Errorf("by UDP: %s", got)
	}
	c := g.dial()
	for id := range uint16(3) { // one connection has many questions
		c.Write(framed(message(id, "big.example.", dnsmessage.TypeTXT, 0)))
		answer := readFramed(c)
		if got := describe(t, answer, id, "big.example."); strings.Count(got, "TypeTXT") != 200 || strings.Contains(got, "truncated") {
			t.Errorf("by TCP: %d bytes: %.100s", len(answer), got)
		}
	}
	want := []string{"udp 127.0.0.2 big.example.", "tcp 127.0.0.2 big.example.", "tcp 127.0.0.2 big.example.", "tcp 127.0.0.2 big.example."}
	if list := s.questions(); !slices.Equal(list, want) {
		t.Errorf("%q", list)
	}
}

// A server that sends more by UDP than the client takes is cut short.
func TestLongDatagram(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	s.set(fixed(slices.Repeat([]string{"192.0.2.1"}, 50)...))
	for size, cut := range map[int]bool{0: true, 512: true, 1232: false} {
		m := g.exchange(message(1, "many.example.", typeA, size), time.Second)
		if got := describe(t, m, 1, "many.example."); strings.Contains(got, "truncated") != cut || len(m) > max(512, size) {
			t.Errorf("room for %d: %d bytes: %s", size, len(m), got)
		}
	}
}

// What the client says of EDNS goes outside, and what is said to it comes back.
func TestEDNSPassesThrough(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	question := message(1, "example.org.", typeA, 1400)
	var sent []byte
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte {
		sent = raw
		m := respond(q, dnsmessage.RCodeSuccess)
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(1300, 0, true)
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 15, Data: []byte{0, 3}}}}})
		return [][]byte{pack(m)}
	})
	answer := g.exchange(question, time.Second)
	if !bytes.Equal(sent[2:], question[2:]) {
		t.Errorf("asked %x as %x", question, sent)
	}
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil || len(m.Additionals) != 1 || m.Additionals[0].Header.Class != 1300 {
		t.Errorf("%v %+v", err, m)
	}
}

// Several questions at once, in pieces, and the end of the client's half.
func TestPipeline(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	g.name(idOne, "web", other, "10.89.0.3")
	var all []byte
	names := []string{"web.", "out.example.", "web.one.", "nobody.", "other.example."}
	for i, name := range names {
		all = append(all, framed(message(uint16(i), name, typeA, 0))...)
	}
	c := g.dial()
	for piece := range slices.Chunk(all, 7) {
		c.Write(piece)
		time.Sleep(200 * time.Microsecond)
	}
	c.(*net.TCPConn).CloseWrite()
	for i, want := range []string{"Success 10.89.0.3", "Success 192.0.2.1", "Success 10.89.0.3", "NameError", "Success 192.0.2.1"} {
		if got := describe(t, readFramed(c), uint16(i), names[i]); got != want {
			t.Errorf("%s: %s", names[i], got)
		}
	}
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%d %v after the end", n, err)
	}
}

// Connections are limited, and those that say nothing or nonsense are ended.
func TestConnectionsAreBounded(t *testing.T) {
	s := newServer(t)
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte {
		time.Sleep(patience / 2)
		return nil
	})
	g := newRig(t, s, "127.0.0.2").start()
	g.name(idOne, "web", other, "10.89.0.3")
	for _, nonsense := range [][]byte{{0xff, 0xff, 1}, framed([]byte("nonsense")), framed(message(1, "web.", typeA, 0)[:14]), {0, 0}} {
		c := g.dial()
		c.Write(nonsense)
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%x: %d bytes", nonsense, n)
		}
	}
	var conns []net.Conn
	for i := range 2 * maxConns {
		c := g.dial()
		conns = append(conns, c)
		if i%2 == 0 {
			c.Write(framed(message(uint16(i), "hangs.example.", typeA, 0)))
		}
		time.Sleep(time.Millisecond)
	}
	last := conns[len(conns)-1]
	last.Write(framed(message(1, "web.", typeA, 0)))
	if got := describe(t, readFramed(last), 1, "web."); got != "Success 10.89.0.3" {
		t.Error(got)
	}
	if n, err := conns[0].Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("the oldest lives: %d", n)
	}
	for _, c := range conns {
		c.Close()
	}
	time.Sleep(patience) // half a connection is one, too, as long as an answer is due
	g.halt()
	if len(g.r.conns) != 0 || len(g.r.pending) != 0 {
		t.Errorf("%d connections and %d questions are left", len(g.r.conns), len(g.r.pending))
	}
	c := &conn{fd: -1, since: time.Now().Add(-connLife)}
	g.r.conns = append(g.r.conns, c)
	if d := time.Until(g.r.Next()); d > 0 {
		t.Errorf("a quiet connection is looked at in %v", d)
	}
	g.r.conns = nil
}
