package image

import (
	"loper.run/image/registry"
	"loper.run/internal/version"
)

// connect returns a client for a registry, which logs in as the user's own
// files say and tells its warnings. Who calls it closes it.
func connect(domain string, show Progress) (*registry.Client, error) {
	client, err := registry.New(domain)
	if err != nil {
		return nil, err
	}
	client.UserAgent, client.Credentials, client.Warn = "loper/"+version.String(), registry.FileCredentials, show.Message
	return client, nil
}
