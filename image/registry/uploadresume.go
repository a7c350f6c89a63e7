package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// failed decides how to go on after an error, which it marks when another try
// may help although the status doesn't say so.
func (u *sending) failed(err error) error {
	if bad := u.src.fault(); bad != nil {
		return &localError{bad}
	}
	var status *StatusError
	if !errors.As(err, &status) {
		u.unsure = u.at != nil
		return err
	}
	switch status.Status {
	case http.StatusNotFound: // the session was lost
		u.at, u.unsure = nil, false
		return &againError{err}
	case http.StatusRequestedRangeNotSatisfiable:
		u.unsure = true
		return &againError{err}
	case http.StatusRequestEntityTooLarge:
		if u.chunk == 0 {
			u.chunk = 4 * firstChunk
		}
		u.chunk /= 4
		u.at, u.unsure = nil, false
		if u.chunk < max(leastChunk, u.least) {
			return err
		}
		return &againError{err}
	}
	u.unsure = u.at != nil
	return err
}

// ask learns how much the registry has.
func (u *sending) ask(ctx context.Context) error {
	resp, err := u.c.do(ctx, u.request(http.MethodGet, 204, 200, 202))
	var status *StatusError
	if errors.As(err, &status) && status.Status < 500 && status.Status != http.StatusTooManyRequests {
		u.at, u.unsure = nil, false
		return nil
	}
	if err != nil {
		return err
	}
	defer discard(resp)
	u.unsure = false
	had, ok := haveRange(resp)
	// 0-0 is one byte, or what registries say of none.
	if !ok || had <= 1 || had > u.src.reach() {
		u.cancel(ctx)
		return nil
	}
	u.done = had
	if resp.Header.Get("Location") == "" {
		return nil
	}
	return u.moved(resp)
}

// haveRange reads how many bytes the registry has.
func haveRange(resp *http.Response) (int64, bool) {
	var first, last int64
	h := strings.TrimPrefix(resp.Header.Get("Range"), "bytes=")
	n, err := fmt.Sscanf(h, "%d-%d", &first, &last)
	return last + 1, err == nil && n == 2 && first == 0 && last >= 0
}

// cancel tells the registry that nothing follows, as good as it can.
func (u *sending) cancel(ctx context.Context) {
	if u.at == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if resp, err := u.c.do(ctx, u.request(http.MethodDelete, 204, 200, 202, 404, 405)); err == nil {
		discard(resp)
	}
	u.at = nil
}

// againError is an answer after which another try, from the beginning or from
// where the registry is, may work although its status doesn't say so.
type againError struct{ err error }

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }
