package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Attributes of linux/netfilter/nf_tables.h and nfnetlink.h that x/sys hasn't.
const (
	genID   = 1 // NFTA_GEN_ID
	batchID = 1 // NFNL_BATCH_GENID
)

// ErrChanged is a batch that was made for rules which somebody changed since.
var ErrChanged = errors.New("nftables: the rules changed meanwhile")

// Generation is a number that every change of rules and sets, by whomever, makes
// another one.
func (c *Conn) Generation() (uint32, error) {
	objects, err := c.list(unix.NFT_MSG_GETGEN, 0, 0, nil)
	if err != nil {
		return 0, err
	}
	for _, o := range objects {
		for kind, value := range netlink.Attributes(o[4:]) {
			if kind == genID {
				return number(value), nil
			}
		}
	}
	return 0, fmt.Errorf("nftables: the kernel tells no generation")
}

// CommitAt is Commit of a batch that was made from what a generation had: of
// another one nothing is changed, and the error is ErrChanged.
func (c *Conn) CommitAt(b *Batch, generation uint32) error {
	begin := header(0, unix.NFNL_SUBSYS_NFTABLES)
	begin = netlink.Append(begin, batchID, binary.BigEndian.AppendUint32(nil, generation))
	refused, err := c.send(begin, b)
	switch {
	case err != nil:
		return err
	case len(refused) == 0:
		return nil
	case refused[0].Err.Errno == unix.ERESTART:
		return ErrChanged
	}
	return b.explain(refused[0])
}
