package dns

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// server is a resolver outside, on a port of its own on several addresses.
type server struct {
	port int
	mu   sync.Mutex
	seen []string // "udp 127.0.0.2 name" of each question
	// answer makes the messages that are sent back; by TCP only the first.
	answer func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte
}

// newServer listens on 127.0.0.2, 127.0.0.3 and 127.0.0.4.
func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{answer: fixed("192.0.2.1")}
	for range 20 {
		if s.listen(t) {
			return s
		}
	}
	t.Fatal("no port that is free on all addresses")
	return nil
}

func (s *server) listen(t testing.TB) bool {
	s.port = 0
	var closers []interface{ Close() error }
	for _, at := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(at, strconv.Itoa(s.port)))
		if err == nil {
			closers = append(closers, pc)
			s.port = pc.LocalAddr().(*net.UDPAddr).Port
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort(at, strconv.Itoa(s.port))); err == nil {
				closers = append(closers, l)
				go s.serveUDP(pc, at)
				go s.serveTCP(l, at)
			}
		}
		if err != nil {
			for _, c := range closers {
				c.Close()
			}
			return false
		}
	}
	t.Cleanup(func() {
		for _, c := range closers {
			c.Close()
		}
	})
	return true
}

func (s *server) handle(transport, at string, raw []byte) [][]byte {
	var q dnsmessage.Message
	if q.Unpack(raw) != nil || len(q.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	s.seen = append(s.seen, transport+" "+at+" "+q.Questions[0].Name.String())
	answer := s.answer
	s.mu.Unlock()
	return answer(transport, at, q, raw)
}

// set changes how the server answers.
func (s *server) set(answer func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// questions are those that came since the last call.
func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func (s *server) serveUDP(pc net.PacketConn, at string) {
	buf := make([]byte, 65536)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		raw := append([]byte(nil), buf[:n]...)
		go func() {
			for _, m := range s.handle("udp", at, raw) {
				pc.WriteTo(m, from)
			}
		}()
	}
}

func (s *server) serveTCP(l net.Listener, at string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for {
				c.SetDeadline(time.Now().Add(20 * time.Second))
				raw := readFramed(c)
				if raw == nil {
					return
				}
				list := s.handle("tcp", at, raw)
				if len(list) == 0 {
					return
				}
				c.Write(framed(list[0]))
			}
		}()
	}
}

// respond makes the beginning of an answer.
func respond(q dnsmessage.Message, code dnsmessage.RCode) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, RecursionDesired: q.RecursionDesired, RCode: code},
		Questions: q.Questions,
	}
}

func pack(m dnsmessage.Message) []byte {
	raw, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return raw
}

func record(name dnsmessage.Name, a string) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}
	addr := netip.MustParseAddr(a)
	if addr.Is4() {
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}
	}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}
}

func alias(name, to string) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 60}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}}
}

// fixed answers everything with addresses.
func fixed(addresses ...string) func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte {
	return func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte {
		m := respond(q, dnsmessage.RCodeSuccess)
		for _, a := range addresses {
			m.Answers = append(m.Answers, record(q.Questions[0].Name, a))
		}
		return [][]byte{pack(m)}
	}
}

// coded answers everything with a code.
func coded(code dnsmessage.RCode) func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte {
	return func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte { return [][]byte{pack(respond(q, code))} }
}
