package dns

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// take passes a server's answer on. It returns false for what is none to this
// question: whoever sent it, the true answer may still come.
func (r *Resolver) take(q *query, i int, m []byte) bool {
	if !q.answeredBy(m, q.asked[i].id) {
		return false
	}
	code := m[3] & 0xf
	if len(m) < q.end || binary.BigEndian.Uint16(m[4:]) == 0 {
		// A server that is older than EDNS says so in twelve bytes.
		r.refuse(q.from, q.message, q.question, code)
		r.forget(q)
		return true
	}
	copy(m, q.message[:2])
	copy(m[headerSize:], q.message[headerSize:q.end]) // with the case that it was asked in
	if !r.learn(q, m) {
		if m[2]&flagsTruncated == 0 {
			return false
		}
		m = cutShort(m, q)
	}
	if q.from.conn == nil && len(m) > q.size {
		m = cutShort(m, q)
	}
	switch code {
	case codeServerFailed, codeRefused, codeNotImplemented:
		q.failure = bytes.Clone(m)
		r.failed(q, i)
		return true
	}
	r.reply(q.from, m)
	r.forget(q)
	return true
}

// answeredBy reports whether a message is an answer to the question, sent by
// somebody who has seen it.
func (q *query) answeredBy(m []byte, id [2]byte) bool {
	if len(m) < headerSize || [2]byte(m) != id || m[2]&flagsResponse == 0 || (m[2]^q.message[2])&0x78 != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(m[4:]) {
	case 0:
		return len(m) == headerSize && m[3]&0xf != 0
	case 1:
		if len(m) < q.end {
			return false
		}
		name := q.end - 4
		return bytes.EqualFold(m[headerSize:name], q.message[headerSize:name]) && bytes.Equal(m[name:q.end], q.message[name:q.end])
	}
	return false
}

// cutShort leaves the question, and the word that there is more by TCP.
func cutShort(m []byte, q *query) []byte {
	m = m[:q.end]
	m[2] |= flagsTruncated
	clear(m[6:headerSize])
	return m
}

// learn tells Learned the addresses that an answer gives to the name: its own,
// and those of the names that it is said to stand for. It reports whether the
// answer can be read to its end.
func (r *Resolver) learn(q *query, m []byte) bool {
	var p dnsmessage.Parser
	if _, err := p.Start(m); err != nil || p.SkipAllQuestions() != nil {
		return false
	}
	if r.Learned == nil {
		return p.SkipAllAnswers() == nil && p.SkipAllAuthorities() == nil && p.SkipAllAdditionals() == nil
	}
	answers, err := p.AllAnswers()
	if err != nil || p.SkipAllAuthorities() != nil || p.SkipAllAdditionals() != nil {
		return false
	}
	owner := string(q.name) + "."
	for range answers { // names may stand in any order, and in a ring
		next := ""
		for _, a := range answers {
			if !strings.EqualFold(a.Header.Name.String(), owner) {
				continue
			}
			switch body := a.Body.(type) {
			case *dnsmessage.AResource:
				r.Learned(string(q.name), netip.AddrFrom4(body.A), a.Header.TTL)
			case *dnsmessage.AAAAResource:
				r.Learned(string(q.name), netip.AddrFrom16(body.AAAA), a.Header.TTL)
			case *dnsmessage.CNAMEResource:
				next = body.CNAME.String()
			}
		}
		if next == "" {
			break
		}
		owner = next
	}
	return true
}
