package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// certificates is what certs.d says of one host: *.crt are authorities, NAME.cert
// with NAME.key a certificate of the client.
type certificates struct {
	dirs    []string // that are there
	roots   [][]byte // PEM
	clients []tls.Certificate
}

// certificateDirs lists where the certificates for a host may be, as Podman and
// Docker look. other takes the place of all.
func certificateDirs(host, other string) []string {
	if other != "" {
		return []string{other}
	}
	dirs := []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}
	if conf, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(conf, "containers/certs.d"))
	}
	for i := range dirs {
		dirs[i] = filepath.Join(dirs[i], host)
	}
	return dirs
}

func loadCertificates(dirs []string) (certificates, error) {
	var c certificates
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // missing, or not for us to read
		}
		c.dirs = append(c.dirs, dir)
		for _, e := range entries {
			if err := c.add(filepath.Join(dir, e.Name())); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func (c *certificates) add(path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: has no certificate", path)
		}
		c.roots = append(c.roots, pem)
	case ".cert":
		key := strings.TrimSuffix(path, "cert") + "key"
		pair, err := tls.LoadX509KeyPair(path, key)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s has no key: put it into %s", path, key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.clients = append(c.clients, pair)
	}
	return nil
}

// config is nil when Go's own settings are right.
func (c *certificates) config(insecure bool) *tls.Config {
	if len(c.roots)+len(c.clients) == 0 && !insecure {
		return nil
	}
	conf := &tls.Config{Certificates: c.clients, InsecureSkipVerify: insecure}
	if len(c.roots) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, pem := range c.roots {
			pool.AppendCertsFromPEM(pem)
		}
		conf.RootCAs = pool
	}
	return conf
}
