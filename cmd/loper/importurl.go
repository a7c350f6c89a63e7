package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
)

// openTar opens what import is to read: a file, standard input, or a URL.
func (c *cli) openTar(ctx context.Context, name string) (io.ReadCloser, error) {
	switch {
	case name == "-":
		return io.NopCloser(c.in), nil
	case isURL(name):
		return fetch(ctx, name)
	}
	return os.Open(name)
}

// fetch opens a URL; each hop on the way is checked.
func fetch(ctx context.Context, address string) (io.ReadCloser, error) {
	client := &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		return checkURL(req.URL)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if err := checkURL(req.URL); err != nil {
		return nil, err
	}
	// As it is there: a tar that is compressed stays so.
	req.Header.Set("Accept-Encoding", "identity")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%.300s: %s", address, res.Status)
	}
	return res.Body, nil
}

// checkURL lets nobody on the way change what comes: anything but this machine
// itself is asked by TLS.
func checkURL(u *url.URL) error {
	if u.Scheme == "https" {
		return nil
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); u.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%.300s: only https, and http to this machine, is allowed", u)
}
