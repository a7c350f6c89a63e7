package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// ErrNotFound is matched by errors about content that a registry does not have.
var ErrNotFound = errors.New("not found")

// ErrUnauthorized is matched by errors about content that a registry refuses.
var ErrUnauthorized = errors.New("unauthorized")

// StatusError is an answer of a registry that holds no content.
type StatusError struct {
	Op        string // what was asked for
	Host      string
	Status    int
	Anonymous bool          // nothing was there to log in with
	Retry     time.Duration // what Retry-After said; 0 when it said nothing
	Detail    string        // the registry's own words, cleaned
}

// Error is one line, and says what to do when there is something.
func (e *StatusError) Error() string {
	words := e.Detail
	if words != "" {
		words = " (" + words + ")"
	}
	switch e.Status {
	case http.StatusNotFound:
		return fmt.Sprintf("%s not found in registry %s%s", e.Op, e.Host, words)
	case http.StatusUnauthorized, http.StatusForbidden:
		if e.Anonymous {
			return fmt.Sprintf("registry %s wants credentials for %s%s: it may not exist, or needs a login ('loper login' stores one)", e.Host, e.Op, words)
		}
		return fmt.Sprintf("registry %s refuses %s%s: it may not exist, or the stored credentials are not for it", e.Host, e.Op, words)
	case http.StatusTooManyRequests:
		return fmt.Sprintf("registry %s limits the rate of pulls%s: log in or try later", e.Host, words)
	}
	return fmt.Sprintf("registry %s answered %s with status %d %s%s", e.Host, e.Op, e.Status, http.StatusText(e.Status), words)
}

// Is matches ErrNotFound and ErrUnauthorized.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrUnauthorized
	}
	return false
}

func (e *endpoint) statusError(r request, resp *http.Response) error {
	defer resp.Body.Close()
	e.mu.Lock()
	now := e.auth[r.key()]
	anonymous := now.header == "" || now.anonymous
	if resp.StatusCode == http.StatusUnauthorized {
		delete(e.auth, r.key()) // whoever tries again logs in anew
	}
	e.mu.Unlock()
	host := resp.Request.URL.Host
	if host == e.host {
		host = e.domain
	}
	return &StatusError{Op: r.String(), Host: host, Status: resp.StatusCode, Anonymous: anonymous, Retry: retryAfter(resp), Detail: detail(resp)}
}

// detail returns the first message of a registry's error document.
func detail(resp *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return ""
	}
	text := doc.Details
	if len(doc.Errors) > 0 {
		text = doc.Errors[0].Message
		if text == "" {
			text = doc.Errors[0].Code
		}
	}
	return fmt.Sprintf("%.200s", clean(text))
}

// clean makes foreign text safe to print in one line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func retryAfter(resp *http.Response) time.Duration {
	h := resp.Header.Get("Retry-After")
	if s, err := strconv.ParseUint(h, 10, 64); err == nil {
		return time.Duration(min(s, 1<<31)) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// explain puts a failed connection into one line that says what to do.
func (e *endpoint) explain(err error) error {
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	prefix := "registry " + e.domain + ": "
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !isTimeout(err):
		return err
	case errors.As(err, &authority):
		return &wrapped{fmt.Sprintf("%sits certificate is signed by an unknown authority: put the authority's certificate into /etc/containers/certs.d/%s/ca.crt", prefix, e.host), err, false}
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return fmt.Errorf("%sits certificate is not valid for it: %w", prefix, innermost(err))
	case strings.Contains(err.Error(), "remote error: tls: "), strings.Contains(err.Error(), "http2: client conn could not be established"):
		// After the handshake of TLS 1.3: net/http may not see why the other side went away.
		return &wrapped{fmt.Sprintf("%sit ended the connection in the handshake (%v); if it wants a client's certificate, put NAME.cert and NAME.key into /etc/containers/certs.d/%s", prefix, innermost(err), e.host), err, false}
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return &wrapped{prefix + "it speaks plain HTTP, which is used with loopback addresses only: give it a certificate, reach it through a tunnel on localhost, or set insecure = true for it in registries.conf", err, false}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.mu.Lock()
		defer e.mu.Unlock()
		// One that never answered is down; one that did is restarting.
		return &wrapped{fmt.Sprintf("%sconnection refused by %s: is it running?", prefix, e.host), err, e.reached}
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return &wrapped{fmt.Sprintf("%sno such host %s", prefix, dns.Name), err, false}
		}
		return &wrapped{fmt.Sprintf("%slooking up %s failed: %s", prefix, dns.Name, dns.Err), err, false}
	case isTimeout(err):
		return &wrapped{prefix + "it did not answer in time", err, false}
	}
	return fmt.Errorf("%s%w", prefix, innermost(err))
}

// innermost strips the wrapping that repeats the method and address.
func innermost(err error) error {
	var u interface {
		error
		Timeout() bool
		Unwrap() error
	}
	for errors.As(err, &u) && u.Unwrap() != nil {
		if _, ok := u.(*net.OpError); ok {
			break
		}
		err = u.Unwrap()
	}
	return err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// wrapped shows its own text in place of the cause's, which it still matches.
type wrapped struct {
	text  string
	cause error
	again bool // it may work if tried again
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.cause }
