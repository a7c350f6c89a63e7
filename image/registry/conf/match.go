package conf

import "strings"

// Find returns the table with the longest prefix of a full name, which may have
// a tag and a digest, or nil.
func (c *Config) Find(name string) *Registry {
	var best *Registry
	longest := 0
	for i := range c.Registries {
		r := &c.Registries[i]
		// All wildcards that match end at the same place.
		if n := matched(name, r.Prefix); n > longest || n > 0 && n == longest && len(r.Prefix) > len(best.Prefix) {
			best, longest = r, n
		}
	}
	return best
}

// matched returns how much of a name a prefix stands for, 0 when it is no
// prefix. As with Podman, a host alone matches whatever its port is.
func matched(name, prefix string) int {
	if domain, ok := strings.CutPrefix(prefix, "*"); ok {
		host, _, _ := strings.Cut(name, "/")
		host, _, _ = strings.Cut(host, ":")
		if !strings.HasSuffix(host, domain) {
			return 0
		}
		return len(host)
	}
	if !strings.HasPrefix(name, prefix) {
		return 0
	}
	return ended(name, len(prefix))
}

// ended returns n if a part of the name ends there, else 0.
func ended(name string, n int) int {
	if n == len(name) || strings.IndexByte(":/@", name[n]) >= 0 {
		return n
	}
	return 0
}

// Rewrite puts the endpoint's location in place of the prefix of a full name.
func (e Endpoint) Rewrite(name, prefix string) string {
	if e.Location == "" {
		return name
	}
	return e.Location + name[matched(name, prefix):]
}
