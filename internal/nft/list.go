package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Rule is a rule that is listed.
type Rule struct {
	Handle  uint64
	Comment string
	Exprs   []Listed
}

// Listed is an expression of a rule: the kernel's name and attributes.
type Listed struct {
	Name string
	Data []byte
}

// list asks for objects, and returns their attributes.
func (c *Conn) list(kind, flags uint16, f Family, attributes []byte) ([][]byte, error) {
	answers, err := c.netlink.Do(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, append(header(f, 0), attributes...))
	if err != nil {
		return nil, fmt.Errorf("nftables: list: %w", err)
	}
	var objects [][]byte
	for _, a := range answers {
		if len(a) >= 4 {
			objects = append(objects, a)
		}
	}
	return objects, nil
}

// Tables lists the tables of a family; of all with family 0.
func (c *Conn) Tables(f Family) ([]Table, error) {
	objects, err := c.list(unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP, f, nil)
	if err != nil {
		return nil, err
	}
	var tables []Table
	for _, o := range objects {
		tables = append(tables, parseTable(o))
	}
	return tables, nil
}

// Table finds a table by its family and name. Without one ok is false.
func (c *Conn) Table(f Family, name string) (t Table, ok bool, err error) {
	objects, err := c.list(unix.NFT_MSG_GETTABLE, 0, f, netlink.AppendString(nil, unix.NFTA_TABLE_NAME, name))
	if errors.Is(err, unix.ENOENT) || err == nil && len(objects) == 0 {
		return Table{}, false, nil
	}
	if err != nil {
		return Table{}, false, err
	}
	return parseTable(objects[0]), true, nil
}

func parseTable(o []byte) Table {
	t := Table{Family: Family(o[0])}
	for kind, value := range netlink.Attributes(o[4:]) {
		switch kind {
		case unix.NFTA_TABLE_NAME:
			t.Name = text(value)
		case unix.NFTA_TABLE_FLAGS:
			t.Dormant = number(value)&unix.NFT_TABLE_F_DORMANT != 0
			t.Owned = number(value)&tableOwner != 0
		case unix.NFTA_TABLE_USE:
			t.Use = number(value)
		case tableHandle:
			t.Handle = number64(value)
		}
	}
	return t
}

// Chains lists the chains of all tables of a family; of all with family 0.
func (c *Conn) Chains(f Family) ([]Chain, error) {
	objects, err := c.list(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, f, nil)
	if err != nil {
		return nil, err
	}
	var chains []Chain
	for _, o := range objects {
		chain := Chain{Table: Table{Family: Family(o[0])}}
		for kind, value := range netlink.Attributes(o[4:]) {
			switch kind {
			case unix.NFTA_CHAIN_TABLE:
				chain.Table.Name = text(value)
			case unix.NFTA_CHAIN_NAME:
				chain.Name = text(value)
			case unix.NFTA_CHAIN_HANDLE:
				chain.Handle = number64(value)
			case unix.NFTA_CHAIN_TYPE:
				chain.Type = text(value)
			case unix.NFTA_CHAIN_POLICY:
				chain.Drop = number(value) == nfDrop
			case unix.NFTA_CHAIN_HOOK:
				for kind, value := range netlink.Attributes(value) {
					switch kind {
					case unix.NFTA_HOOK_HOOKNUM:
						chain.Hook = Hook(number(value))
					case unix.NFTA_HOOK_PRIORITY:
						chain.Priority = int32(number(value))
					case unix.NFTA_HOOK_DEV:
						chain.Device = text(value)
					}
				}
			}
		}
		chains = append(chains, chain)
	}
	return chains, nil
}

// Rules lists a chain's rules in their order; those of a whole table for a chain
// without a name.
func (c *Conn) Rules(chain Chain) ([]Rule, error) {
	objects, err := c.list(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, chain.Table.Family, chain.name())
	if err != nil {
		return nil, err
	}
	var rules []Rule
	for _, o := range objects {
		var r Rule
		for kind, value := range netlink.Attributes(o[4:]) {
			switch kind {
			case unix.NFTA_RULE_HANDLE:
				r.Handle = number64(value)
			case unix.NFTA_RULE_USERDATA:
				r.Comment = comment(value)
			case unix.NFTA_RULE_EXPRESSIONS:
				for _, e := range netlink.Attributes(value) {
					var l Listed
					for kind, value := range netlink.Attributes(e) {
						switch kind {
						case unix.NFTA_EXPR_NAME:
							l.Name = text(value)
						case unix.NFTA_EXPR_DATA:
							l.Data = value
						}
					}
					r.Exprs = append(r.Exprs, l)
				}
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// Elements lists a set's elements, in no order. Of ranges of a single field only
// the first keys are listed.
func (c *Conn) Elements(s Set) ([]Element, error) {
	objects, err := c.list(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, s.Table.Family, s.name())
	if err != nil {
		return nil, err
	}
	return parseElements(objects), nil
}

func parseElements(objects [][]byte) []Element {
	var elements []Element
	for _, o := range objects {
		for kind, list := range netlink.Attributes(o[4:]) {
			if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, e := range netlink.Attributes(list) {
				if element, end := parseElement(e); !end {
					elements = append(elements, element)
				}
			}
		}
	}
	return elements
}

func parseElement(attributes []byte) (e Element, end bool) {
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.Key = inner(value)
		case elementKeyEnd:
			e.End = inner(value)
		case unix.NFTA_SET_ELEM_FLAGS:
			end = number(value)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.Timeout = time.Duration(number64(value)) * time.Millisecond
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.Expires = time.Duration(number64(value)) * time.Millisecond
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = comment(value)
		case unix.NFTA_SET_ELEM_DATA:
			for kind, data := range netlink.Attributes(value) {
				switch kind {
				case unix.NFTA_DATA_VALUE:
					e.Data = data
				case unix.NFTA_DATA_VERDICT:
					for kind, part := range netlink.Attributes(data) {
						switch kind {
						case unix.NFTA_VERDICT_CODE:
							e.Verdict.code = int32(number(part))
						case unix.NFTA_VERDICT_CHAIN:
							e.Verdict.chain = text(part)
						}
					}
				}
			}
		}
	}
	return e, end
}

// inner is the bytes of a value.
func inner(a []byte) []byte {
	for kind, data := range netlink.Attributes(a) {
		if kind == unix.NFTA_DATA_VALUE {
			return data
		}
	}
	return nil
}

func text(value []byte) string {
	before, _, _ := bytes.Cut(value, []byte{0})
	return string(before)
}

func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func number64(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// HasChain tells whether there is a chain of this table and name.
func (c *Conn) HasChain(chain Chain) (bool, error) {
	a := netlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, chain.Table.Name)
	a = netlink.AppendString(a, unix.NFTA_CHAIN_NAME, chain.Name)
	_, err := c.list(unix.NFT_MSG_GETCHAIN, 0, chain.Table.Family, a)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// Element finds an element by its key. Without one, or without the set, ok is
// false.
func (c *Conn) Element(s Set, key []byte) (e Element, ok bool, err error) {
	list := nest(nil, unix.NFTA_LIST_ELEM, nest(nil, unix.NFTA_SET_ELEM_KEY, value(key)))
	objects, err := c.list(unix.NFT_MSG_GETSETELEM, 0, s.Table.Family, nest(s.name(), unix.NFTA_SET_ELEM_LIST_ELEMENTS, list))
	if errors.Is(err, unix.ENOENT) {
		return Element{}, false, nil
	}
	if err != nil {
		return Element{}, false, err
	}
	elements := parseElements(objects)
	if len(elements) != 1 {
		return Element{}, false, nil
	}
	return elements[0], true, nil
}
