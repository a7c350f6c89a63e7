package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Pool is a range of IPv4 addresses that subnets are cut from.
type Pool struct {
	Base netip.Prefix
	Bits int // of each subnet
}

// DefaultPools are tried in their order: the part of 10.0.0.0/8 that is least in
// use elsewhere, and for a host that reaches all of it, the other private ranges.
func DefaultPools() []Pool {
	var pools []Pool
	for _, base := range []string{"10.89.0.0/16", "10.90.0.0/15", "10.92.0.0/14", "10.96.0.0/11", "10.128.0.0/9", "172.16.0.0/12", "192.168.0.0/16"} {
		pools = append(pools, Pool{netip.MustParsePrefix(base), 24})
	}
	return pools
}

// Check says what is wrong with a pool.
func (p Pool) Check() error {
	if !p.Base.Addr().Is4() {
		return fmt.Errorf("pool %s: only IPv4 subnets are cut from pools", p.Base)
	}
	if err := checkSubnet(p.Base); err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	if p.Bits < p.Base.Bits() || p.Bits > maxBits4 {
		return fmt.Errorf("pool %s: subnets of /%d cannot be cut from it: write a size from %d to %d", p.Base, p.Bits, p.Base.Bits(), maxBits4)
	}
	return nil
}

// errExhausted is a search for a subnet that found none.
var errExhausted = errors.New("no subnet is left")

// cut finds the first subnet of the pools that overlaps nothing that is taken.
func cut(pools []Pool, taken []netip.Prefix) (netip.Prefix, error) {
	for _, p := range pools {
		if err := p.Check(); err != nil {
			return netip.Prefix{}, err
		}
		base, step := number4(p.Base.Addr()), uint64(1)<<(32-p.Bits)
		end := uint64(base) + 1<<(32-p.Base.Bits())
	search:
		for at := uint64(base); at < end; at += step {
			sub := netip.PrefixFrom(addr4(uint32(at)), p.Bits)
			for _, t := range taken {
				if t.Overlaps(sub) {
					// Go on behind it, in case it is large.
					if last := uint64(number4(t.Addr())) + 1<<(32-t.Bits()); last > at+step {
						at = last - step
					}
					continue search
				}
			}
			return sub, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: the pools %s are used up by other networks and the host's routes: remove networks ('loper network prune') or give one with --subnet", errExhausted, poolNames(pools))
}

func poolNames(pools []Pool) string {
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Base.String()
	}
	return strings.Join(names, ", ")
}

// cut6 finds the first /64 of a prefix of 48 bits that overlaps nothing that is taken.
func cut6(base netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	bytes := base.Addr().As16()
search:
	for i := range 1 << 16 {
		bytes[6], bytes[7] = byte(i>>8), byte(i)
		sub := netip.PrefixFrom(netip.AddrFrom16(bytes), 64)
		for _, t := range taken {
			if t.Overlaps(sub) {
				continue search
			}
		}
		return sub, nil
	}
	return netip.Prefix{}, fmt.Errorf("%w: all of %s is used up: remove networks ('loper network prune') or give one with --subnet", errExhausted, base)
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
