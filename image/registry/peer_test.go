package registry

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// me is what the registries of these tests take.
func me(string, string) (Credential, error) {
	return Credential{Username: "tester", Password: "secret"}, nil
}

// putContent puts content into a repository, as a push does.
func putContent(t *testing.T, c *Client, path string, content []byte) error {
	t.Helper()
	resp, err := c.do(t.Context(), request{method: http.MethodPost, path: path, what: "blobs/uploads/", actions: "pull,push", ok: []int{202}})
	if err != nil {
		return err
	}
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return err
	}
	q := at.Query()
	q.Set("digest", oci.FromBytes(content).String())
	at.RawQuery = q.Encode()
	resp, err = c.do(t.Context(), request{
		method: http.MethodPut, path: path, what: "blobs/uploads/x", actions: "pull,push", ok: []int{201}, at: at,
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, size: int64(len(content)),
	})
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// Debian's registry with a private authority, by each way to log in.
func TestDockerRegistry(t *testing.T) {
	ca := env.NewAuthority(t)
	for name, o := range map[string]env.RegistryOptions{
		"basic":        {Basic: true, Authority: ca},
		"token":        {Tokens: env.NewTokens(t, ca), Authority: ca},
		"certificates": {Certificates: true, Authority: ca},
		"plain basic":  {Basic: true},
	} {
		t.Run(name, func(t *testing.T) {
			config := configure(t, "")
			reg := env.NewRegistry(t, o)
			content, d := blob(1000)
			c := client(t, reg.Addr)
			if o.Authority != nil {
				err := putContent(t, c, "a/b", content)
				wantError(t, err, "signed by an unknown authority", "certs.d/"+reg.Addr)
				ca.CertsD(t, config, reg.Addr, false)
				err = putContent(t, client(t, reg.Addr), "a/b", content)
				if o.Certificates {
					wantError(t, err, "registry "+reg.Addr) // what it says of certificates may be lost with the connection
				} else {
					wantError(t, err, "wants credentials")
				}
				ca.CertsD(t, config, reg.Addr, o.Certificates)
			}
			c = client(t, reg.Addr)
			c.Credentials = func(string, string) (Credential, error) {
				return Credential{Username: "tester", Password: "wrong"}, nil
			}
			if err := putContent(t, c, "a/b", content); (err == nil) != o.Certificates {
				t.Errorf("with a wrong password: %v", err)
			}
			c = client(t, reg.Addr)
			c.Credentials = me
			if err := putContent(t, c, "a/b", content); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Small(t.Context(), "a/b", d, 1000); err != nil || !bytes.Equal(got, content) {
				t.Error(err)
			}
			if _, err := c.Check(t.Context(), Credential{Username: "tester", Password: "secret"}); err != nil {
				t.Error(err)
			}
			_, err := client(t, reg.Addr).Check(t.Context(), Credential{Username: "tester", Password: "wrong"})
			if !o.Certificates {
				wantError(t, err, "user name or password is wrong")
			}
		})
	}
}

// A mount asks for two scopes at once, and the registry takes the token for both.
func TestDockerRegistryMount(t *testing.T) {
	ca := env.NewAuthority(t)
	tokens := env.NewTokens(t, ca)
	config := configure(t, "")
	reg := env.NewRegistry(t, env.RegistryOptions{Tokens: tokens, Authority: ca})
	ca.CertsD(t, config, reg.Addr, false)
	c := client(t, reg.Addr)
	c.Credentials = me
	content, d := blob(1000)
	if err := putContent(t, c, "from/here", content); err != nil {
		t.Fatal(err)
	}
	mount := request{method: http.MethodPost, path: "to/there", from: "from/here", what: "blobs/uploads/", query: "mount=" + d.Digest.String() + "&from=from%2Fhere", actions: "pull,push", ok: []int{201}}
	resp, err := c.do(t.Context(), mount)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	given, _ := tokens.Given()
	if last := given[len(given)-1]; last != "[{repository to/there [pull push]} {repository from/here [pull]}]" {
		t.Errorf("the token is for %s", last)
	}
}

// A token that expires in the middle is renewed, by an identity token too, which
// is what login keeps.
func TestExpiredToken(t *testing.T) {
	ca := env.NewAuthority(t)
	tokens := env.NewTokens(t, ca)
	config := configure(t, "")
	reg := env.NewRegistry(t, env.RegistryOptions{Tokens: tokens, Authority: ca})
	ca.CertsD(t, config, reg.Addr, false)
	c := client(t, reg.Addr)
	c.Credentials = me
	content, d := blob(1000)
	if err := putContent(t, c, "a", content); err != nil {
		t.Fatal(err)
	}
	kept, err := client(t, reg.Addr).Check(t.Context(), Credential{Username: "tester", Password: "secret"})
	if err != nil || kept.IdentityToken == "" || kept.Password != "" {
		t.Fatalf("login keeps %+v, %v", kept, err)
	}
	tokens.Lifetime = -time.Second - time.Minute // the registry grants a minute of leeway
	c = client(t, reg.Addr)
	c.Credentials = func(string, string) (Credential, error) { return kept, nil }
	_, err = c.Small(t.Context(), "a", d, 1000)
	wantError(t, err, "refuses") // even the fresh one is too old
	tokens.Lifetime = -58 * time.Second
	for i := range 2 {
		time.Sleep(time.Duration(i) * 3 * time.Second)
		if _, err := c.Small(t.Context(), "a", d, 1000); err != nil {
			t.Fatal(err)
		}
	}
	_, kinds := tokens.Given()
	if got := strings.Join(kinds[len(kinds)-3:], " "); got != "refresh refresh refresh" {
		t.Errorf("tokens were asked for by %s", got)
	}
}

func TestWrongCertificateFiles(t *testing.T) {
	ca := env.NewAuthority(t)
	config := configure(t, "")
	dir := filepath.Join(config, "containers/certs.d/a.test")
	ca.CertsD(t, config, "a.test", true)
	if err := os.Remove(filepath.Join(dir, "client.key")); err != nil {
		t.Fatal(err)
	}
	_, err := client(t, "a.test").Check(t.Context(), Credential{})
	wantError(t, err, "client.cert has no key", "client.key")
}
