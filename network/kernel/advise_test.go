package kernel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
	"loper.run/internal/nft"
)

// Who lacks a module is told which, and what goes without it.
func TestAdvise(t *testing.T) {
	lacks := &nft.Error{What: "add a rule", Expr: "masq", Module: "nft_masq", Err: &netlink.Error{Errno: unix.ENOENT}}
	err := advise(fmt.Errorf("firewall: %w", lacks))
	if !strings.Contains(err.Error(), "nft_masq") || !strings.Contains(err.Error(), "--network none") || !errors.Is(err, lacks) {
		t.Error(err)
	}
	other := errors.New("other")
	if advise(other) != other || advise(nil) != nil {
		t.Error("another error was changed")
	}
}
