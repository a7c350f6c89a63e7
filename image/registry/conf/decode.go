package conf

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a file as TOML has it. What it doesn't know it leaves out, as
// Podman does.
type document struct {
	Registry []struct {
		Prefix             string
		Location           string
		Insecure           bool
		Blocked            bool
		MirrorByDigestOnly bool `toml:"mirror-by-digest-only"`
		Mirror             []struct {
			Location string
			Insecure bool
			Pull     When `toml:"pull-from-mirror"`
		}
	}
	Search  *[]string `toml:"unqualified-search-registries"`
	Helpers *[]string `toml:"credential-helpers"`
	Mode    Mode      `toml:"short-name-mode"`
	Aliases map[string]string

	// The first version of the format had lists only.
	Registries struct {
		Search, Insecure, Block struct{ Registries []string }
	}
}

// old reports whether anything is in the first version of the format.
func (d *document) old() bool {
	o := &d.Registries
	return len(o.Search.Registries)+len(o.Insecure.Registries)+len(o.Block.Registries) > 0
}

// decode reads one file. first tells that it is the main one, which alone may
// be in the old format.
func decode(data []byte, file string, first bool) (*Config, error) {
	var doc document
	if err := toml.Unmarshal(data, &doc); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return nil, fmt.Errorf("%s, line %d: %w", file, row, err)
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if doc.old() {
		if len(doc.Registry) > 0 || doc.Search != nil {
			return nil, fmt.Errorf("%s: [registries.…] lists and [[registry]] tables can't be in one file: use [[registry]] tables", file)
		}
		if !first {
			return nil, fmt.Errorf("%s: [registries.…] lists can only be in registries.conf itself: use [[registry]] tables", file)
		}
	}
	c := &Config{Mode: doc.Mode, Files: []string{file}}
	lines := tableLines(data)
	for i, r := range doc.Registry {
		reg := Registry{Prefix: r.Prefix, MirrorByDigestOnly: r.MirrorByDigestOnly, Blocked: r.Blocked, Endpoint: Endpoint{r.Location, r.Insecure}, File: file}
		at := lines.of(i)
		reg.Line = at.registry
		for j, m := range r.Mirror {
			reg.Mirrors = append(reg.Mirrors, Mirror{Endpoint{m.Location, m.Insecure}, m.Pull, at.mirror(j)})
		}
		c.Registries = append(c.Registries, reg)
	}
	c.modernize(&doc, file)
	if doc.Search != nil {
		c.Search, c.SearchFrom = *doc.Search, file
	}
	if doc.Helpers != nil {
		c.Helpers, c.HelpersFrom = *doc.Helpers, file
	}
	c.Aliases = make(map[string]Alias, len(doc.Aliases))
	for short, full := range doc.Aliases {
		c.Aliases[short] = Alias{full, file}
	}
	return c, c.check(file)
}

// modernize takes the lists of the old format for the tables they stand for.
func (c *Config) modernize(doc *document, file string) {
	if !doc.old() {
		return
	}
	tables := make(map[string]*Registry)
	var order []string
	table := func(location string) *Registry {
		if tables[location] == nil {
			tables[location] = &Registry{Endpoint: Endpoint{Location: location}, File: file}
			order = append(order, location)
		}
		return tables[location]
	}
	for _, location := range doc.Registries.Insecure.Registries {
		table(location).Insecure = true
	}
	for _, location := range doc.Registries.Block.Registries {
		table(location).Blocked = true
	}
	for _, location := range order {
		c.Registries = append(c.Registries, *tables[location])
	}
	c.Search, c.SearchFrom = doc.Registries.Search.Registries, file
}

// tables tells in which lines the [[registry]] tables begin, and the mirrors of
// each.
type tables []tableAt

type tableAt struct {
	registry int
	mirrors  []int
}

// tableLines finds the heads of tables, for messages.
func tableLines(data []byte) tables {
	var found tables
	var p unstable.Parser
	p.Reset(data)
	line, counted := 1, 0 // as far as lines were counted
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.ArrayTable {
			continue
		}
		var words []string
		for it := e.Key(); it.Next(); {
			words = append(words, string(it.Node().Data))
			if at := int(it.Node().Raw.Offset); at > counted {
				line += bytes.Count(data[counted:at], []byte("\n"))
				counted = at
			}
		}
		switch {
		case len(words) == 1 && words[0] == "registry":
			found = append(found, tableAt{registry: line})
		case len(words) == 2 && words[0] == "registry" && words[1] == "mirror" && len(found) > 0:
			last := &found[len(found)-1]
			last.mirrors = append(last.mirrors, line)
		}
	}
	return found
}

func (t tables) of(i int) tableAt {
	if i >= len(t) {
		return tableAt{}
	}
	return t[i]
}

func (t tableAt) mirror(i int) int {
	if i >= len(t.mirrors) {
		return 0
	}
	return t.mirrors[i]
}
