package network

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
)

// makeMAC is a locally administered address of link layer. It is always the same
// for an address of a network, so that neighbours who remember the address reach
// whoever has it now.
func makeMAC(n *Network, m *Member) string {
	what := m.Container
	if len(m.Endpoint.Addresses) > 0 {
		what = m.Endpoint.Addresses[0].Addr().String()
	}
	sum := digest(n.ID, what)
	return formatMAC([]byte{0x02, byte(sum >> 32), byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// PortGroup is the group of interfaces that the host's ends of a network's
// containers belong to, by which rules know them from the moment they are made.
func PortGroup(networkID string) uint32 { return uint32(digest(networkID, "group")) | 1 }

// PassMark is the bit of a packet's mark by which the engine's rules tell that
// they have seen it: on its way out by a bridge, and where it was translated
// before the bridge's own interface took it in.
const PassMark = 1 << 28

// hostInterface is a name for the host's end of a container's interface. No two
// starts have the same: what the one before left may still be on its way out.
func hostInterface(container string) string {
	return "lv" + container[:8] + fmt.Sprintf("%05x", rand.Uint32()>>12)
}

func digest(words ...string) uint64 {
	h := fnv.New64a()
	for _, w := range words {
		h.Write([]byte(w + "/"))
	}
	sum := h.Sum64()
	return sum ^ sum>>32
}

// ParseMAC reads an address of link layer of one host; "" is none.
func ParseMAC(word string) (string, error) {
	if word == "" {
		return "", nil
	}
	var b []byte
	for part := range strings.SplitSeq(strings.ReplaceAll(word, "-", ":"), ":") {
		v, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) != 2 {
			b = nil
			break
		}
		b = append(b, byte(v))
	}
	if len(b) != 6 {
		return "", fmt.Errorf("invalid MAC address %q: write it as 02:00:00:00:00:01", word)
	}
	if b[0]&1 != 0 || hex.EncodeToString(b) == "000000000000" {
		return "", fmt.Errorf("MAC address %s is not that of one host", word)
	}
	return formatMAC(b), nil
}

func formatMAC(b []byte) string {
	words := make([]string, len(b))
	for i := range b {
		words[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(words, ":")
}
