package dns

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"loper.run/network"
)

// Types, codes and flags of messages, beyond those that dnsmessage names.
const (
	typeA     = dnsmessage.TypeA
	typeAAAA  = dnsmessage.TypeAAAA
	typePTR   = dnsmessage.TypePTR
	typeANY   = dnsmessage.TypeALL
	typeIXFR  = dnsmessage.Type(251)
	typeAXFR  = dnsmessage.TypeAXFR
	typeHTTPS = dnsmessage.TypeHTTPS

	codeServerFailed   = byte(dnsmessage.RCodeServerFailure)
	codeNoName         = byte(dnsmessage.RCodeNameError)
	codeNotImplemented = byte(dnsmessage.RCodeNotImplemented)
	codeRefused        = byte(dnsmessage.RCodeRefused)

	flagsResponse  = 0x80 // byte 2
	flagsAuthority = 0x04
	flagsTruncated = 0x02
	flagsRecursion = 0x01 // asked for
	flagsAvailable = 0x80 // byte 3
	flagsUnchecked = 0x10

	headerSize = 12
	// maxAnswer is what an answer of our own takes at most.
	maxAnswer = 4096
	// ourSize is the longest datagram that we call good: it passes everywhere
	// without being cut into fragments.
	ourSize = 1232
	// ttl is zero: a container's address changes with its next start, which is
	// to be seen at once, and asking again costs some reads of files in memory.
	ttl = 0
)

var errMessage = errors.New("not a question")

// question is what a message asks, and what is found for it.
type question struct {
	name []byte // in lower case, without the dot at its end; "" is the root
	kind dnsmessage.Type
	end  int    // of the question in the message
	size int    // the client takes so many bytes by UDP
	edns bool   // and said so
	sec  bool   // DNSSEC's records too
	file []byte // the name as a network's files are called; nil: it can be none of them

	known     bool // the name is here, though it may have no addresses
	code      byte // if it is not: 0 when others may know
	addresses []netip.Addr
	names     []string // for an address
}

// parse reads a question. Its error means that there is nobody to answer; its
// code says what is wrong with a question that can be answered. The names are
// good until the next one.
func (r *Resolver) parse(m []byte) (q question, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(m)
	if err != nil || h.Response || len(m) < headerSize || binary.BigEndian.Uint16(m[4:]) != 1 {
		return q, errMessage
	}
	question, err := p.Question()
	if err != nil {
		return q, errMessage
	}
	if q.end = questionEnd(m); q.end == 0 {
		return q, errMessage
	}
	q.size = 512
	if err := q.parseRest(&p); err != nil {
		return q, errMessage
	}
	q.kind = question.Type
	switch {
	case h.OpCode != 0:
		q.code = codeNotImplemented
	case question.Class != dnsmessage.ClassINET, q.kind == typeAXFR, q.kind == typeIXFR:
		q.code = codeRefused
	}
	q.name = append(r.name[:0], question.Name.Data[:question.Name.Length-1]...)
	lower(q.name)
	if file, err := network.AppendName(r.file[:0], q.name); err == nil {
		q.file = file
	}
	return q, nil
}

// parseRest reads the sections behind the question: what the client takes.
func (q *question) parseRest(p *dnsmessage.Parser) error {
	if err := p.SkipAllQuestions(); err != nil {
		return err
	}
	if err := p.SkipAllAnswers(); err != nil {
		return err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns, q.sec, q.size = true, h.DNSSECAllowed(), max(512, int(h.Class))
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// questionEnd is where the first question of a message ends; 0 if its name is
// not written in full, as nobody would do.
func questionEnd(m []byte) int {
	for i := headerSize; i < len(m) && m[i] < 64; i += 1 + int(m[i]) {
		if m[i] == 0 {
			if i+5 > len(m) {
				return 0
			}
			return i + 5
		}
	}
	return 0
}

func lower(text []byte) {
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
}

// compose makes the answer to a question: with what was found, or with a code.
func (r *Resolver) compose(message []byte, q question) []byte {
	b := append(r.out[:0], message[:q.end]...)
	b[2] = flagsResponse | message[2]&(flagsRecursion|0x78)
	if q.code == 0 || q.code == codeNoName {
		b[2] |= flagsAuthority
	}
	b[3] = flagsAvailable | message[3]&flagsUnchecked | q.code
	clear(b[6:headerSize])
	limit := min(q.size, maxAnswer)
	if q.edns {
		limit -= 11
	}
	if q.known {
		b = q.records(b, limit)
	}
	if q.edns {
		b[11] = 1
		b = append(b, 0, 0, byte(dnsmessage.TypeOPT), ourSize>>8, ourSize&0xff, 0, 0, 0, 0, 0, 0)
		if q.sec {
			b[len(b)-4] = 0x80
		}
	}
	return b
}

// records adds what was found, until there is no room.
func (q *question) records(b []byte, limit int) []byte {
	for _, a := range q.addresses {
		if a.Is4() {
			data := a.As4()
			b = addRecord(b, limit, typeA, data[:])
		} else {
			data := a.As16()
			b = addRecord(b, limit, typeAAAA, data[:])
		}
	}
	for _, name := range q.names {
		if data := wire(name); data != nil {
			b = addRecord(b, limit, typePTR, data)
		}
	}
	return b
}

// addRecord adds a record about the question's name, in its own case, or the
// word that there was no room for it.
func addRecord(b []byte, limit int, kind dnsmessage.Type, data []byte) []byte {
	if b[2]&flagsTruncated != 0 || len(b)+12+len(data) > limit {
		b[2] |= flagsTruncated
		return b
	}
	b[7]++ // there are not more of them than of addresses and names
	b = append(b, 0xc0, headerSize, byte(kind>>8), byte(kind), 0, byte(dnsmessage.ClassINET), 0, 0, 0, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// wire is a name as messages have it; nil: they can't.
func wire(name string) []byte {
	if _, err := network.AppendName(nil, name); err != nil {
		return nil
	}
	var b []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}
