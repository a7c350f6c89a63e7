package registry

import (
	"net/http"
	"sync"
)

// strangers are the hosts that a registry leads to: its token server, and where
// it redirects. Each is trusted by what certs.d says of itself.
type strangers struct {
	e *endpoint

	mu    sync.Mutex
	known map[stranger]*schemes
	plain *schemes // for those of which nothing is said
}

func (s *strangers) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := s.transport(req.URL.Host, nil)
	if err != nil {
		return nil, err
	}
	return t.RoundTrip(req)
}

// stranger is a host, and whether the registry's own authorities vouch for it
// too.
type stranger struct {
	host    string
	trusted bool
}

// transport returns the transport for a host. roots are trusted besides.
func (s *strangers) transport(host string, roots [][]byte) (*schemes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := stranger{host, len(roots) > 0}
	if t := s.known[key]; t != nil {
		return t, nil
	}
	certs, err := loadCertificates(certificateDirs(host, ""))
	if err != nil {
		return nil, err
	}
	certs.roots = append(certs.roots, roots...)
	lenient := s.e.lenient(host)
	conf := certs.config(lenient)
	if conf == nil {
		if s.plain == nil {
			s.plain = newSchemes(nil, false)
		}
		return s.plain, nil
	}
	t := newSchemes(conf, lenient)
	if s.known == nil {
		s.known = make(map[stranger]*schemes)
	}
	s.known[key] = t
	return t, nil
}

// CloseIdleConnections drops connections that nobody uses.
func (s *strangers) CloseIdleConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.known {
		t.CloseIdleConnections()
	}
	if s.plain != nil {
		s.plain.CloseIdleConnections()
	}
}
