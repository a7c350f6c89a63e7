package firewall

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"loper.run/internal/atomicfile"
	"loper.run/internal/nft"
)

// madeFile says which tables, chains and rules were made last, by the kernel's
// numbers for them. Whoever deletes one and makes it again, as from a file that
// was saved once, makes another one, whose elements may be old.
const madeFile = "firewall.made"

// remember writes what was made.
func (s *session) remember() error {
	text, err := s.numbers()
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.Store.Dir(""), madeFile), []byte(text), 0o600, atomicfile.Volatile)
}

// whole tells whether everything is there that was made, and nothing else in our
// tables. Elements of sets are not looked at.
func (s *session) whole() (bool, error) {
	made, err := os.ReadFile(filepath.Join(s.Store.Dir(""), madeFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	there, err := s.numbers()
	return there != "" && there == string(made), err
}

// numbers are those of all that our tables have but elements, and "" when a table
// is missing.
func (s *session) numbers() (string, error) {
	sum := fnv.New64a()
	tables := []nft.Table{s.guard.table}
	for _, h := range s.halves {
		tables = append(tables, h.table)
	}
	for _, t := range tables {
		t, there, err := s.conn.Table(t.Family, t.Name)
		if !there || err != nil {
			return "", err
		}
		fmt.Fprintln(sum, t.Family, t.Handle, t.Use, t.Dormant)
		chains, err := s.conn.Chains(t.Family)
		if err != nil {
			return "", err
		}
		for _, c := range chains {
			if c.Table.Name == t.Name {
				fmt.Fprintln(sum, c.Name, c.Handle, c.Drop)
			}
		}
		rules, err := s.conn.Rules(nft.Chain{Table: t})
		if err != nil {
			return "", err
		}
		for _, r := range rules {
			fmt.Fprintln(sum, r.Handle)
		}
	}
	return fmt.Sprintf("%016x\n", sum.Sum64()), nil
}
