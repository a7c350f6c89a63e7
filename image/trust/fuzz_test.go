package trust

import (
	"reflect"
	"testing"

	yaml "go.yaml.in/yaml/v3"
)

// Whatever is read as a payload reads the same to a lenient reader: nothing
// hides in it.
func FuzzPayload(f *testing.F) {
	f.Add(payloadOf(cosignType, digestOf("x"), "r.example/a"))
	f.Add([]byte(`{"critical":{},"optional":{"timestamp":1e3}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []string{cosignType, simpleType} {
			c, err := parsePayload(data, kind)
			if err == nil && (len(c.Digests) != 1 || c.Digests[0].IsZero()) {
				t.Errorf("a payload without a digest: %+v", c)
			}
		}
	})
}

// Foreign signatures never panic, and none is accepted by a key that didn't sign.
func FuzzSignature(f *testing.F) {
	v := loadVectors(f)
	f.Add(v.Bundle.Body, v.Annotated.Annotations[annotationRekor])
	key, err := ParseKey([]byte(v.Key))
	if err != nil {
		f.Fatal(err)
	}
	logKey, err := ParseKey([]byte(v.Log))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, rekor string) {
		for _, form := range []Form{Cosign, Bundle, Simple} {
			s := Signature{Form: form, Body: body, Annotations: map[string]string{annotationSignature: "AAAA", annotationRekor: rekor, annotationKey: rekor}}
			s.keyless()
			s.ownKey()
			if _, err := s.verifyKey(key); err == nil {
				t.Error("a signature that nobody made is good")
			}
			if entry, err := parseRekor(rekor); err == nil {
				if entry.verify([]Key{logKey}, key, body, []byte("x")) == nil {
					t.Error("an entry that nobody logged is good")
				}
			}
		}
		if _, err := ParsePolicy(body); err == nil {
			ParsePolicy(body)
		}
	})
}

// What our reader reads of YAML a library reads, too, and the same.
func FuzzYAML(f *testing.F) {
	f.Add("docker:\n  r.example:\n    lookaside: file:///x # y\n")
	f.Add("'a': \"b\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseYAML(text)
		if err != nil {
			return
		}
		for _, c := range text { // what a library refuses as characters is no matter of structure
			if c != '\n' && c != '\r' && c != '\t' && (c < ' ' || c > '~') {
				return
			}
		}
		var want map[string]any
		if yaml.Unmarshal([]byte(text), &want) != nil {
			return
		}
		var node yaml.Node
		if yaml.Unmarshal([]byte(text), &node) != nil || !textual(&node) {
			return
		}
		if !reflect.DeepEqual(plain(asMap(got)), plain(texts(&node))) {
			t.Errorf("%q: %v, the library reads %v", text, got, want)
		}
	})
}

// textual tells whether a document has only what our reader knows.
func textual(n *yaml.Node) bool {
	for _, c := range n.Content {
		if !textual(c) {
			return false
		}
	}
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Kind != yaml.SequenceNode
}

// texts is a document with its scalars as they are written.
func texts(n *yaml.Node) any {
	switch n.Kind {
	case 0:
		return nil
	case yaml.DocumentNode:
		return texts(n.Content[0])
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = texts(n.Content[i+1])
		}
		return m
	}
	if n.Tag == "!!null" && n.Value == "" {
		return nil
	}
	return n.Value
}
