package store

import (
	"encoding/json"
	"strconv"
	"time"

	"loper.run/image/oci"
)

// A thousand records are to be read in the blink of an eye, for which
// encoding/json takes too long. What this program writes is read by a scanner
// that knows just that; all else, such as a field of a newer version or an
// escaped character, is left to encoding/json.

// decodeImage reads a record.
func decodeImage(data []byte, img *Image) error {
	s := scanner{text: data}
	if s.image(img); s.done() {
		return nil
	}
	*img = Image{}
	return json.Unmarshal(data, img)
}

func (s *scanner) image(img *Image) {
	s.object(func(key string) {
		switch key {
		case "id":
			img.ID = s.digest()
		case "manifest":
			img.Manifest = s.digest()
		case "blobs":
			img.Blobs = s.digests()
		case "layers":
			img.Layers = s.digests()
		case "packed":
			img.Packed = s.digests()
		case "digests":
			img.Digests = []string{}
			s.array(func() { img.Digests = append(img.Digests, s.string()) })
		case "kept":
			img.Kept = s.true()
		case "signer":
			img.Signer = s.string()
		case "size":
			img.Size = s.number()
		case "platform":
			img.Platform = oci.Platform{}
			s.platform(&img.Platform)
		case "created":
			img.Created = s.time()
		case "pulledAt":
			img.PulledAt = s.time()
		default:
			s.bad = true
		}
	})
}

// decodeName reads a name.
func decodeName(data []byte, n *Name) error {
	s := scanner{text: data}
	if s.name(n); s.done() {
		return nil
	}
	*n = Name{}
	return json.Unmarshal(data, n)
}

func (s *scanner) name(n *Name) {
	s.object(func(key string) {
		switch key {
		case "name":
			n.Name = s.string()
		case "image":
			n.Image = s.digest()
		case "others":
			n.Others = s.digests()
		case "manifest":
			n.Manifest = s.digest()
		default:
			s.bad = true
		}
	})
}

// scanner reads JSON without any white space. Whatever it doesn't know makes it
// bad.
type scanner struct {
	text []byte
	at   int
	bad  bool
}

// done reports whether all was understood.
func (s *scanner) done() bool {
	return !s.bad && (s.at == len(s.text) || s.at == len(s.text)-1 && s.text[s.at] == '\n')
}

// next takes one character.
func (s *scanner) next() byte {
	if s.bad || s.at >= len(s.text) {
		s.bad = true
		return 0
	}
	s.at++
	return s.text[s.at-1]
}

func (s *scanner) want(c byte) {
	if s.next() != c {
		s.bad = true
	}
}

// more takes what stands between two elements, or ends them, and reports
// whether another one follows.
func (s *scanner) more(end byte) bool {
	switch s.next() {
	case ',':
		return !s.bad
	case end:
		return false
	}
	s.bad = true
	return false
}

func (s *scanner) object(field func(key string)) {
	s.want('{')
	for again := !s.bad; again; again = s.more('}') {
		key := s.word()
		s.want(':')
		if !s.bad {
			field(string(key))
		}
	}
}

func (s *scanner) array(element func()) {
	s.want('[')
	if s.at < len(s.text) && s.text[s.at] == ']' {
		s.at++
		return
	}
	for again := !s.bad; again; again = s.more(']') {
		element()
	}
}

// word is a string that has nothing escaped.
func (s *scanner) word() []byte {
	s.want('"')
	for start := s.at; !s.bad; {
		switch c := s.next(); {
		case c == '"':
			return s.text[start : s.at-1]
		case c == '\\' || c < ' ' || c >= 0x7f:
			s.bad = true
		}
	}
	return nil
}

func (s *scanner) string() string { return string(s.word()) }

func (s *scanner) digest() oci.Digest {
	d, ok := oci.ParseBytes(s.word())
	if !ok {
		s.bad = true
		return oci.Digest{}
	}
	return d
}

func (s *scanner) digests() []oci.Digest {
	list := []oci.Digest{}
	s.array(func() { list = append(list, s.digest()) })
	return list
}

func (s *scanner) number() int64 {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	n, err := strconv.ParseInt(string(s.text[start:s.at]), 10, 64)
	if err != nil || s.at > start+1 && s.text[start] == '0' {
		s.bad = true
	}
	return n
}

func (s *scanner) true() bool {
	for _, c := range []byte("true") {
		s.want(c)
	}
	return !s.bad
}

func (s *scanner) time() (t time.Time) {
	if t.UnmarshalText(s.word()) != nil {
		s.bad = true
	}
	return t
}

func (s *scanner) platform(p *oci.Platform) {
	s.object(func(key string) {
		switch key {
		case "architecture":
			p.Architecture = s.string()
		case "os":
			p.OS = s.string()
		case "variant":
			p.Variant = s.string()
		default:
			s.bad = true
		}
	})
}
