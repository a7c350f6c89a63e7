package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"loper.run/image/reference"
	"loper.run/image/registry/conf"
)

// Explanation is what a pull of an image would do to find it, and why.
type Explanation struct {
	Name       string
	Files      []string // of registries.conf, in the order they were read
	Mode       string   `json:",omitempty"` // short-name-mode, where a short name is ambiguous
	Candidates []ExplainedName
}

// ExplainedName is one full name that the given one may stand for.
type ExplainedName struct {
	Reference string
	Because   string // what made the name stand for that
	Table     string `json:",omitempty"` // of registries.conf that decides
	Prefix    string `json:",omitempty"` // of that table
	Blocked   bool   `json:",omitempty"`
	Endpoints []ExplainedEndpoint
}

// ExplainedEndpoint is one place that would be asked.
type ExplainedEndpoint struct {
	Role         string // mirror or registry
	Reference    string // the image's name there
	Line         int    `json:",omitempty"` // of the table that says so
	Manifest     string // what is asked first; a digest follows for each blob
	Blobs        string
	TLS          string   // what is wanted of its certificate
	PlainHTTP    string   // when HTTP will do
	Certificates []string `json:",omitempty"` // directories of certs.d that are there
	ClientCerts  int      `json:",omitempty"`
	Credentials  []string `json:",omitempty"` // places that are asked, in order, the first that has some winning
	Proxy        string   `json:",omitempty"`
}

// Explain follows the configuration from a name to requests. It reads files only:
// no registry and no helper is asked.
func Explain(name string) (*Explanation, error) {
	config, err := conf.Load(conf.DefaultPaths())
	if err != nil {
		return nil, err
	}
	x := &Explanation{Name: name, Files: config.Files}
	candidates, err := config.Candidates(name)
	if err != nil {
		return nil, err
	}
	if len(candidates) > 1 {
		if x.Mode = string(config.Mode); x.Mode == "" {
			x.Mode = string(conf.Permissive)
		}
	}
	for _, c := range candidates {
		n, err := explainName(config, c.Ref)
		if err != nil {
			return nil, err
		}
		n.Because = because(name, c)
		x.Candidates = append(x.Candidates, n)
	}
	return x, nil
}

func because(name string, c conf.Candidate) string {
	switch {
	case c.What == "alias":
		return "alias in " + c.From
	case c.What == "search":
		return "unqualified-search-registries in " + c.From
	case conf.IsShort(name):
		return "names without a registry are Docker Hub's"
	}
	return "the name has a registry"
}

func explainName(config *conf.Config, ref reference.Reference) (ExplainedName, error) {
	if !ref.Digest.IsZero() {
		ref.Tag = ""
	}
	ref = ref.WithDefaultTag()
	n := ExplainedName{Reference: ref.String()}
	if t := config.Find(ref.Name()); t != nil {
		if n.Table, n.Prefix, n.Blocked = t.Where(), t.Prefix, t.Blocked; n.Blocked {
			return n, nil
		}
	}
	links, err := links(config, ref.Name(), !ref.Digest.IsZero())
	if err != nil {
		return n, err
	}
	for _, l := range links {
		l.ref.Tag, l.ref.Digest = ref.Tag, ref.Digest
		e, err := explainEndpoint(l)
		if err != nil {
			return n, err
		}
		n.Endpoints = append(n.Endpoints, e)
	}
	return n, nil
}

func explainEndpoint(l link) (ExplainedEndpoint, error) {
	host := hostOfDomain(l.ref.Domain)
	base := url.URL{Scheme: "https", Host: host}
	what := l.ref.Tag
	if !l.ref.Digest.IsZero() {
		what = l.ref.Digest.String()
	}
	e := ExplainedEndpoint{
		Role: "registry", Reference: l.ref.String(), Line: l.line, TLS: "verified", PlainHTTP: "never",
		Manifest: base.String() + "/v2/" + l.ref.Path + "/manifests/" + what,
		Blobs:    base.String() + "/v2/" + l.ref.Path + "/blobs/",
	}
	if l.mirror {
		e.Role = "mirror"
	}
	switch {
	case l.insecure:
		e.TLS, e.PlainHTTP = "not verified (insecure = true)", "if it speaks no TLS (insecure = true)"
	case isLoopback(base.Hostname()):
		e.PlainHTTP = "if it speaks no TLS (loopback)"
	}
	certs, err := loadCertificates(certificateDirs(host, ""))
	if err != nil {
		return e, fmt.Errorf("certificates of registry %s: %w", host, err)
	}
	e.Certificates, e.ClientCerts = certs.dirs, len(certs.clients)
	all, err := places("", l.ref.Domain, l.ref.Path)
	if err != nil {
		return e, err
	}
	for _, p := range all {
		e.Credentials = append(e.Credentials, p.String())
		if p.Helper == "" {
			break // a helper may have none, an entry has some
		}
	}
	e.Proxy, err = proxyOf(&base)
	return e, err
}

// proxyOf names the proxy for an address and the variable that says so, without
// the password that it may have.
func proxyOf(u *url.URL) (string, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return "", err
	}
	variable := strings.ToUpper(u.Scheme) + "_PROXY"
	if os.Getenv(variable) == "" {
		variable = strings.ToLower(variable)
	}
	return proxy.Redacted() + " (" + variable + ")", nil
}
