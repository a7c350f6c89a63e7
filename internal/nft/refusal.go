package nft

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Error is what the kernel refused, and why.
type Error struct {
	What string // the change, for people
	Expr string // the expression of a rule, if it was about one
	// Module is the kernel's module that seems to be missing, or "".
	Module string
	Err    *netlink.Error
}

// Error is one line.
func (e *Error) Error() string {
	s := "nftables: " + e.What
	if e.Expr != "" {
		s += ": " + e.Expr
	}
	switch {
	case e.Module != "":
		return s + ": the kernel lacks " + e.Module + " (" + e.Err.Errno.Error() + ")"
	case e.Err.Errno == unix.EPERM:
		return s + ": needs CAP_NET_ADMIN in the network namespace"
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the kernel's answer, and below it the errno.
func (e *Error) Unwrap() error { return e.Err }

// explain says which change was refused.
func (b *Batch) explain(r netlink.Refused) error {
	e := &Error{What: "begin", Err: r.Err}
	missing := r.Err.Errno == unix.ENOENT || r.Err.Errno == unix.EOPNOTSUPP || r.Err.Errno == unix.EAFNOSUPPORT
	if r.Index == 0 || r.Index > len(b.entries) {
		if missing || r.Err.Errno == unix.EINVAL {
			e.Module = "nf_tables"
		}
		if r.Index > 0 {
			e.What = "commit"
		}
		return e
	}
	entry := b.entries[r.Index-1]
	e.What = entry.what
	kind := entry.message.Kind & 0xff
	at := int(r.Err.Offset) - unix.NLMSG_HDRLEN
	switch {
	case kind == unix.NFT_MSG_NEWRULE:
		if e.Expr = refusedExpr(entry.message.Body, at); e.Expr != "" && missing {
			e.Module = moduleOf(e.Expr, entry.family)
		}
	case kind == unix.NFT_MSG_NEWCHAIN && missing && attribute(entry.message.Body, at) == unix.NFTA_CHAIN_TYPE:
		e.Module = "nft_chain_nat"
	case kind == unix.NFT_MSG_NEWTABLE && (r.Err.Errno == unix.EOPNOTSUPP || r.Err.Errno == unix.EAFNOSUPPORT):
		e.Module = "tables of the family " + entry.family.String()
	}
	return e
}

// attribute returns the kind of the attribute that is at an offset of a body.
func attribute(body []byte, at int) uint16 {
	offset := 4
	for kind, value := range netlink.Attributes(body[min(4, len(body)):]) {
		end := offset + unix.SizeofRtAttr + (len(value)+3)&^3
		if at >= offset && at < end {
			return kind
		}
		offset = end
	}
	return 0
}

// refusedExpr returns the name of the expression that is at an offset of a
// rule's body.
func refusedExpr(body []byte, at int) string {
	offset := 4
	for kind, list := range netlink.Attributes(body[min(4, len(body)):]) {
		offset += unix.SizeofRtAttr
		if kind != unix.NFTA_RULE_EXPRESSIONS {
			offset += (len(list) + 3) &^ 3
			continue
		}
		for _, e := range netlink.Attributes(list) {
			end := offset + unix.SizeofRtAttr + (len(e)+3)&^3
			if at >= offset && at < end {
				for kind, name := range netlink.Attributes(e) {
					if kind == unix.NFTA_EXPR_NAME {
						return text(name)
					}
				}
			}
			offset = end
		}
	}
	return ""
}

// moduleOf is where the kernel has an expression. Those that nf_tables itself
// has are never missing: then it is a set or a chain that is.
func moduleOf(expr string, f Family) string {
	family := map[Family]string{IP: "ipv4", IP6: "ipv6"}[f]
	if family == "" {
		family = f.String()
	}
	switch expr {
	case "lookup", "cmp", "meta", "payload", "bitwise", "immediate", "counter", "dynset", "range", "rt", "byteorder", "objref":
		return ""
	case "fib", "reject", "dup", "fwd":
		return "nft_" + expr + "_" + family
	case "notrack":
		return "nft_ct"
	}
	return "nft_" + expr
}

// socketError says what it means that there is no socket.
func socketError(err error) error {
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("nftables: the kernel lacks nfnetlink (%w)", err)
	}
	return fmt.Errorf("nftables: %w", err)
}
