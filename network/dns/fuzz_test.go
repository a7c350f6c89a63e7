package dns

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"loper.run/network"
)

// FuzzQuestion sends packets to a resolver without a way out: what it answers
// is an answer to what was asked, not much longer, and nothing else happens.
func FuzzQuestion(f *testing.F) {
	for _, m := range [][]byte{
		message(1, "web.", typeA, 0), message(1, "web.one.", typeAAAA, 4096), message(1, "3.0.89.10.in-addr.arpa.", typePTR, 0),
		message(1, "nobody.example.", typeANY, 1), message(1, ".", dnsmessage.TypeNS, 0), fixed("1.2.3.4")("", "", dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.")}}}, nil)[0],
		append(message(1, "x.", typeA, 0)[:12], 0xc0, 12, 0, 1, 0, 1), append(message(1, "x.", typeA, 0)[:12], 0xc0, 4, 0, 1, 0, 1), {}, make([]byte, 12),
	} {
		f.Add(m)
	}
	g := newRig(f, nil)
	g.name(idOne, "web", other, "10.89.0.3", "fd00::3")
	e := endpoint("one", idOne, "10.89.0.2/24")
	e.Internal = true
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{e}})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		f.Fatal(err)
	}
	buf := make([]byte, 65536)
	f.Fuzz(func(t *testing.T, m []byte) {
		if len(m) > maxQuery {
			return
		}
		// By TCP, into a socket of our own.
		c := &conn{fd: pair[0], since: time.Now(), waits: true}
		asked := g.r.ask(client{conn: c}, bytes.Clone(m))
		n, _ := unix.Read(pair[1], buf)
		if len(g.r.pending) != 0 || asked != (n > 0) {
			t.Fatalf("%x: pending %d, asked %t, answered %d", m, len(g.r.pending), asked, n)
		}
		if n <= 0 {
			return
		}
		answer := buf[2:n]
		var a dnsmessage.Message
		if err := a.Unpack(answer); err != nil {
			t.Fatalf("%x: answered %x: %v", m, answer, err)
		}
		if !a.Response || !bytes.Equal(answer[:2], m[:2]) || len(a.Questions) != 1 || len(answer) > len(m)+2*(16+12)+11 {
			t.Fatalf("%x: answered %x", m, answer)
		}
	})
}

// FuzzAnswer lets a server say anything.
func FuzzAnswer(f *testing.F) {
	question := message(1, "example.org.", typeA, 0)
	var q dnsmessage.Message
	if err := q.Unpack(question); err != nil {
		f.Fatal(err)
	}
	f.Add(fixed("192.0.2.1")("", "", q, nil)[0])
	m := respond(q, 0)
	m.Answers = append(m.Answers, alias("example.org.", "b."), record(dnsmessage.MustNewName("b."), "fd00::1"))
	f.Add(pack(m))
	g := newRig(f, nil, "127.0.0.9")
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) > maxPacket {
			return
		}
		parsed, err := g.r.parse(question)
		if err != nil {
			t.Fatal(err)
		}
		p := &query{question: parsed, message: question, asked: []asked{{fd: -1, id: [2]byte(question[:2])}}, tries: 9}
		g.r.pending = []*query{p}
		taken := g.r.take(p, 0, bytes.Clone(answer))
		if taken == (len(g.r.pending) == 1) {
			t.Fatalf("%x: taken %t, pending %d", answer, taken, len(g.r.pending))
		}
		if taken && (len(answer) < headerSize || answer[2]&flagsResponse == 0) {
			t.Fatalf("%x is no answer", answer)
		}
	})
}
