// Package conf reads registries.conf, the file that says how registries are
// reached: mirrors, other locations, blocked and insecure ones, and what short
// names stand for. Format and order of files are those of
// containers-registries.conf(5) and containers-registries.conf.d(5).
package conf

import "fmt"

// Config is what all files say together. The zero value says nothing.
type Config struct {
	Registries  []Registry
	Search      []string // unqualified-search-registries
	SearchFrom  string   // the file that says so, "" when none does
	Mode        Mode     // short-name-mode
	Helpers     []string // credential-helpers
	HelpersFrom string
	Aliases     map[string]Alias // of short names
	Files       []string         // read, in this order
}

// Registry is one [[registry]] table: settings of all images whose names begin
// with Prefix.
type Registry struct {
	Prefix             string
	MirrorByDigestOnly bool
	Blocked            bool
	Endpoint           // where images are in place of Prefix
	Mirrors            []Mirror

	File string
	Line int // of the table's head; 0 when it has none
}

// Endpoint is where images are really.
type Endpoint struct {
	Location string // host[:port][/path], in place of the prefix; "" keeps the name
	Insecure bool   // plain HTTP and certificates that nobody vouches for will do
}

// Mirror is one [[registry.mirror]] table.
type Mirror struct {
	Endpoint
	Pull When
	Line int
}

// When says which pulls a mirror is for.
type When string

// The values of pull-from-mirror; "" is Always, unless mirror-by-digest-only
// says otherwise.
const (
	Always     When = "all"
	DigestOnly When = "digest-only"
	TagOnly    When = "tag-only"
)

// Mode is what is done about a short name that could be of several registries.
type Mode string

// The values of short-name-mode; "" is Permissive.
const (
	Enforcing  Mode = "enforcing"
	Permissive Mode = "permissive"
	Disabled   Mode = "disabled"
)

// Alias is the full name that a short name stands for, and the file that says so.
type Alias struct{ Name, File string }

// PullMirrors lists the mirrors that a pull may use, in the order to try them.
// byDigest tells that the name has a digest.
func (r *Registry) PullMirrors(byDigest bool) []Mirror {
	var usable []Mirror
	for _, m := range r.Mirrors {
		switch {
		case byDigest && m.Pull == TagOnly:
		case !byDigest && (m.Pull == DigestOnly || r.MirrorByDigestOnly):
		default:
			usable = append(usable, m)
		}
	}
	return usable
}

// Where is the file and line of the table, for messages.
func (r *Registry) Where() string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s, line %d", r.File, r.Line)
}
