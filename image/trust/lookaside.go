package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

// maxSignature is how large one signature may be, in bytes.
const maxSignature = 1 << 20

// checkLookaside wants a URL that signatures can be read below.
func checkLookaside(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return err
	case u.Scheme == "file" && filepath.IsAbs(u.Path) && u.Host == "":
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "":
	default:
		return fmt.Errorf("%.300q is no file://, https:// or http:// address", text)
	}
	return nil
}

// lookasidePath is where the signatures of a manifest are below a lookaside:
// REPOSITORY@ALGORITHM=HEX/signature-1 and so on (containers-signature(5)).
func lookasidePath(base *url.URL, path string, d oci.Digest, index int) string {
	return fmt.Sprintf("%s/%s@%s=%s/signature-%d", strings.TrimRight(base.Path, "/"), path, d.Algorithm(), d.Hex(), index+1)
}

// lookaside reads the simple signatures of a manifest. The first number that
// is missing ends them.
func lookaside(ctx context.Context, place, path string, d oci.Digest) (list []Signature, err error) {
	if place == "" {
		return nil, nil
	}
	base, err := url.Parse(place)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	for i := range maxSignatures {
		u := *base
		u.Path, u.RawPath = lookasidePath(base, path, d, i), ""
		var body []byte
		if u.Scheme == "file" {
			body, err = readSignature(u.Path)
		} else {
			body, err = fetchSignature(ctx, client, u.String())
		}
		if errors.Is(err, os.ErrNotExist) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("signature place %s: %w", place, err)
		}
		list = append(list, Signature{Form: Simple, Body: body, Of: d})
	}
	return list, nil
}

func readSignature(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOTDIR) {
		return nil, os.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

func fetchSignature(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "loper")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readBounded(resp.Body)
	case http.StatusNotFound:
		return nil, os.ErrNotExist
	}
	return nil, fmt.Errorf("it answers %s", resp.Status)
}

func readBounded(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxSignature+1))
	if err == nil && len(body) > maxSignature {
		return nil, fmt.Errorf("a signature is larger than %d bytes", maxSignature)
	}
	return body, err
}
