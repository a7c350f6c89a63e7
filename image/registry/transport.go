package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

func secureTransport(conf *tls.Config) *schemes {
	secure := transport(&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second})
	secure.Proxy = http.ProxyFromEnvironment
	secure.TLSClientConfig = conf
	secure.ForceAttemptHTTP2 = true
	plain := transport(&net.Dialer{Timeout: 15 * time.Second, Control: onlyLoopback})
	return &schemes{secure, plain}
}

func transport(d *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:           d.DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
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

// ownTransport trusts and shows what certs.d says for the host: *.crt are
// authorities, NAME.cert with NAME.key a certificate of the client.
func ownTransport(host string) (*schemes, error) {
	dirs := []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}
	if conf, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(conf, "containers/certs.d"))
	}
	var conf *tls.Config
	for _, dir := range dirs {
		dir = filepath.Join(dir, host)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // missing, or not for us to read
		}
		if conf == nil {
			conf = &tls.Config{}
		}
		for _, e := range entries {
			if err := addCertificate(conf, filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("certificates of registry %s: %w", host, err)
			}
		}
	}
	return secureTransport(conf), nil
}

func addCertificate(conf *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if conf.RootCAs == nil {
			pool, err := x509.SystemCertPool()
			if err != nil {
				pool = x509.NewCertPool()
			}
			conf.RootCAs = pool
		}
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: has no certificate", path)
		}
	case ".cert":
		pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, "cert")+"key")
		if err != nil {
			return err
		}
		conf.Certificates = append(conf.Certificates, pair)
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

// watched fails the request when no byte has come for a while.
type watched struct {
	body   io.ReadCloser
	limit  time.Duration
	timer  *time.Timer
	cancel func(error)
	fired  chan struct{}
}

func watch(body io.ReadCloser, limit time.Duration, cancel func(error)) *watched {
	w := &watched{body: body, limit: limit, cancel: cancel, fired: make(chan struct{})}
	w.timer = time.AfterFunc(limit, func() {
		close(w.fired)
		cancel(errStalled)
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	n, err := w.body.Read(p)
	// The clock stands while the reader is busy with what it got.
	w.timer.Stop()
	if err != nil && err != io.EOF {
		select {
		case <-w.fired:
			err = errStalled
		default:
		}
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
