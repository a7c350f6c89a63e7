package e2e_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameserver is a server of the world's names on the host's loopback interface.
type nameserver struct {
	address string
	mu      sync.Mutex
	seen    []string
}

// newNameserver serves A records: one for most names, 60 for "big.", after 1.5 seconds for "slow.", none for
// "missing.".
func newNameserver(t testing.TB, address string) *nameserver {
	t.Helper()
	s := &nameserver{address: address}
	pc, err := net.ListenPacket("udp", address+":53")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { pc.Close() })
	l, err := net.Listen("tcp", address+":53")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for buf := make([]byte, 4096); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := append([]byte(nil), buf[:n]...)
			go func() { pc.WriteTo(s.answer(q, 512), from) }()
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var size [2]byte
				for {
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					q := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, q); err != nil {
						return
					}
					a := s.answer(q, 65535)
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
				}
			}()
		}
	}()
	return s
}

func (s *nameserver) answer(raw []byte, limit int) []byte {
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	s.mu.Lock()
	s.seen = append(s.seen, name)
	s.mu.Unlock()
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	count := 1
	switch {
	case strings.HasPrefix(name, "big."):
		count = 60
	case strings.HasPrefix(name, "slow."):
		time.Sleep(1500 * time.Millisecond)
	case strings.HasPrefix(name, "missing."):
		m.RCode = dnsmessage.RCodeNameError
		count = 0
	}
	if q.Type == dnsmessage.TypeA {
		for i := range count {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(1 + i)}},
			})
		}
	}
	out, _ := m.Pack()
	if len(out) > limit {
		m.Truncated, m.Answers = true, m.Answers[:20]
		out, _ = m.Pack()
	}
	return out
}

// asked are the names that were asked for since the last call.
func (s *nameserver) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}
