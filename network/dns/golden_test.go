package dns

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// What goes over the wire, byte for byte.
func TestPackets(t *testing.T) {
	g := newRig(t, nil).start()
	g.name(idOne, "web", other, "10.89.0.3", "fd00::3")
	for _, c := range []struct{ what, question, answer string }{
		{"an address, with the question's case",
			"1234 0100 0001 0000 0000 0000 03 576562 00 0001 0001",
			"1234 8580 0001 0001 0000 0000 03 576562 00 0001 0001 c00c 0001 0001 00000000 0004 0a590003"},
		{"with EDNS and DNSSEC, unchecked",
			"1234 0110 0001 0000 0000 0001 03 776562 00 001c 0001 00 0029 1000 00008000 0000",
			"1234 8590 0001 0001 0000 0001 03 776562 00 001c 0001 c00c 001c 0001 00000000 0010 fd000000000000000000000000000003 00 0029 04d0 00008000 0000"},
		{"no such type", "0001 0000 0001 0000 0000 0000 03 776562 00 000f 0001", "0001 8480 0001 0000 0000 0000 03 776562 00 000f 0001"},
		{"no such name", "0001 0100 0001 0000 0000 0000 02 6e6f 00 0001 0001", "0001 8583 0001 0000 0000 0000 02 6e6f 00 0001 0001"},
		{"a class that is not the Internet's", "0001 0100 0001 0000 0000 0000 03 776562 00 0001 0003", "0001 8185 0001 0000 0000 0000 03 776562 00 0001 0003"},
		{"an update", "0001 2800 0001 0000 0000 0000 03 776562 00 0006 0001", "0001 a884 0001 0000 0000 0000 03 776562 00 0006 0001"},
		{"a transfer", "0001 0100 0001 0000 0000 0000 03 776562 00 00fc 0001", "0001 8185 0001 0000 0000 0000 03 776562 00 00fc 0001"},
		{"an answer", "1234 8180 0001 0001 0000 0000 03 776562 00 0001 0001 c00c 0001 0001 00000000 0004 0a590009", ""},
		{"two questions", "0001 0100 0002 0000 0000 0000 03 776562 00 0001 0001 03 776562 00 001c 0001", ""},
		{"no question", "0001 0100 0000 0000 0000 0000", ""},
		{"a pointer to itself", "0001 0100 0001 0000 0000 0000 c00c 0001 0001", ""},
		{"a part", "0001 0100 0001 0000 0000 0000 03 7765", ""},
		{"half a header", "0001 0100 0001", ""},
	} {
		wait := 5 * time.Second
		if c.answer == "" {
			wait = 100 * time.Millisecond
		}
		got := g.exchange(unhex(t, c.question), wait)
		if hex.EncodeToString(got) != hex.EncodeToString(unhex(t, c.answer)) {
			t.Errorf("%s: %x, want %s", c.what, got, c.answer)
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
