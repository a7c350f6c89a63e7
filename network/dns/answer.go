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

// maxAliases is how many names one after the other an answer is followed to, as
// resolvers do. An answer has room for thousands.
const maxAliases = 16

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
	answers, err := readAnswers(&p)
	if err != nil || p.SkipAllAuthorities() != nil || p.SkipAllAdditionals() != nil {
		return false
	}
	owner, learned := string(q.name)+".", 0
	for range maxAliases { // names may stand in any order, and in a ring
		next := ""
		for _, a := range answers {
			switch {
			case !strings.EqualFold(a.owner, owner):
			case a.alias != "":
				next = a.alias
			case learned < maxAddresses:
				r.Learned(string(q.name), a.address, a.ttl)
				learned++
			}
		}
		if next == "" {
			break
		}
		owner = next
	}
	return true
}

// answer is a record that gives a name an address, or says what other name it
// stands for.
type answer struct {
	owner   string
	ttl     uint32
	address netip.Addr
	alias   string
}

// readAnswers reads those records of the answers' section. Type by type: to
// read all that there are would link the code for each.
func readAnswers(p *dnsmessage.Parser) (list []answer, err error) {
	for {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		a := answer{owner: h.Name.String(), ttl: h.TTL}
		switch h.Type {
		case typeA:
			var body dnsmessage.AResource
			body, err = p.AResource()
			a.address = netip.AddrFrom4(body.A)
		case typeAAAA:
			var body dnsmessage.AAAAResource
			body, err = p.AAAAResource()
			a.address = netip.AddrFrom16(body.AAAA)
		case dnsmessage.TypeCNAME:
			var body dnsmessage.CNAMEResource
			body, err = p.CNAMEResource()
			a.alias = body.CNAME.String()
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return nil, err
		}
		if a.address.IsValid() || a.alias != "" {
			list = append(list, a)
		}
	}
}
