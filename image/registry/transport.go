package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// isLoopback reports whether a host is this machine by its name alone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// schemes picks the transport by scheme. Plain HTTP has a dialer of its own,
// which connects to loopback addresses only, whatever a name resolves to.
type schemes struct{ secure, plain *http.Transport }

func (s *schemes) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		return s.secure.RoundTrip(req)
	}
	return s.plain.RoundTrip(req)
}

func (s *schemes) CloseIdleConnections() {
	s.secure.CloseIdleConnections()
	s.plain.CloseIdleConnections()
}

// newSchemes makes transports for one host. An insecure one may speak plain HTTP
// from anywhere, by a proxy too.
func newSchemes(conf *tls.Config, insecure bool) *schemes {
	secure := transport(&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second})
	secure.Proxy = http.ProxyFromEnvironment
	secure.TLSClientConfig = conf
	secure.ForceAttemptHTTP2 = true
	dialer := &net.Dialer{Timeout: 15 * time.Second, Control: onlyLoopback}
	if insecure {
		dialer.Control = nil
	}
	plain := transport(dialer)
	if insecure {
		plain.Proxy = http.ProxyFromEnvironment
	}
	return &schemes{secure, plain}
}

func transport(d *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:           d.DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		// Bytes of one header; a token in a redirect's address may be long.
		MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConnsPerHost:    8,
		// A layer's compression is content, not transport.
		DisableCompression: true,
		ReadBufferSize:     128 << 10,
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: 8 << 20, MaxReceiveBufferPerConnection: 32 << 20, MaxReadFrameSize: 1 << 20},
	}
}

func onlyLoopback(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().IsLoopback() {
		return fmt.Errorf("plain HTTP to %s is refused: it is no loopback address", address)
	}
	return nil
}

// notTLS reports whether the other side did not speak TLS at all, in contrast
// to speaking it with a certificate that is not trusted.
func notTLS(err error) bool {
	var record tls.RecordHeaderError
	return speaksHTTP(err) || errors.As(err, &record) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// speaksHTTP reports whether the other side answered TLS with plain HTTP.
func speaksHTTP(err error) bool { return errors.Is(err, http.ErrSchemeMismatch) }

// errStalled is the cause when a body stopped coming.
var errStalled = errors.New("the registry sent nothing for too long")

// leastRate is how many bytes a second a body must bring to be worth waiting for.
const leastRate = 64

// watched fails the request when too little has come for a while: nothing, or
// so few bytes that somebody only wants to keep us busy.
type watched struct {
	body   io.ReadCloser
	limit  time.Duration
	left   time.Duration // until need bytes must have come
	need   int64
	timer  *time.Timer
	cancel func(error)
	fired  atomic.Bool
}

func watch(body io.ReadCloser, limit time.Duration, cancel func(error)) *watched {
	w := &watched{body: body, limit: limit, cancel: cancel}
	w.renew()
	w.timer = time.AfterFunc(limit, func() {
		w.fired.Store(true) // more than once, if somebody reads on
		cancel(errStalled)
	})
	return w
}

func (w *watched) renew() {
	w.left, w.need = w.limit, max(1, int64(w.limit.Seconds()*leastRate))
}

func (w *watched) Read(p []byte) (int, error) {
	begin := time.Now()
	w.timer.Reset(w.left)
	n, err := w.body.Read(p)
	// The clock stands while the reader is busy with what it got.
	w.timer.Stop()
	w.left -= time.Since(begin)
	if w.need -= int64(n); w.need <= 0 {
		w.renew()
	}
	if err != nil && err != io.EOF && w.fired.Load() {
		err = errStalled
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.body.Close()
	w.cancel(nil)
	return err
}

// upload fails the request when nobody has taken a byte of its body for a while.
type upload struct {
	io.ReadCloser
	limit time.Duration

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

func watchUpload(body io.ReadCloser, limit time.Duration, cancel func(error)) *upload {
	return &upload{ReadCloser: body, limit: limit, timer: time.AfterFunc(limit, func() { cancel(errUnwanted) })}
}

// errUnwanted is the cause when a registry stopped taking an upload.
var errUnwanted = errors.New("the registry took nothing for too long")

func (u *upload) Read(p []byte) (int, error) {
	u.timer.Stop() // where the content comes from may take its time
	n, err := u.ReadCloser.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && !u.closed {
		u.timer.Reset(u.limit)
	}
	return n, err
}

func (u *upload) Close() error {
	u.mu.Lock()
	u.closed = true
	u.timer.Stop()
	u.mu.Unlock()
	return u.ReadCloser.Close()
}
