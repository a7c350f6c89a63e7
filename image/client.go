package image

import (
	"loper.run/image/registry"
	"loper.run/internal/version"
)

// Access is how registries are reached and logged in at. The zero value goes by
// the user's own files alone.
type Access struct {
	AuthFile string // with credentials, in place of all others
	CertDir  string // with certificates, in place of certs.d
	Insecure bool   // plain HTTP and certificates that nobody vouches for will do
	// Login, when it has a name, is used in place of what files have.
	Login registry.Credential
}

// connect returns a client for a registry, which tells its warnings. Who calls
// it closes it.
func (s *Store) connect(domain string, show Progress) (*registry.Client, error) {
	client, err := registry.New(domain)
	if err != nil {
		return nil, err
	}
	a := s.Access
	client.UserAgent, client.Warn = "loper/"+version.String(), show.Message
	client.Insecure, client.CertDir = a.Insecure, a.CertDir
	client.Credentials = func(domain, path string) (registry.Credential, error) {
		if a.Login != (registry.Credential{}) {
			return a.Login, nil
		}
		return registry.CredentialsFrom(a.AuthFile, domain, path)
	}
	return client, nil
}
