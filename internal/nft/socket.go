package nft

import "golang.org/x/sys/unix"

// What linux/netfilter/nf_tables.h has and x/sys hasn't.
const (
	socketKey         = 1
	socketDestination = 2
	socketTransparent = 0
)

// Transparent matches a packet for a socket of this host that may be bound to
// foreign addresses.
func Transparent() Expr {
	a := append32(nil, socketKey, socketTransparent)
	return append(expr("socket", append32(a, socketDestination, keyRegister)), compare(unix.NFT_CMP_EQ, []byte{1})...)
}
