// Package systemd asks systemd for the unit that holds a container's groups, over D-Bus (org.freedesktop.systemd1(5)).
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	service = "org.freedesktop.systemd1"
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager = service + ".Manager."
	// systemSocket is the bus of the machine, and privateSocket systemd's own, which only root may use and which is
	// there without a bus too.
	systemSocket  = "unix:path=/run/dbus/system_bus_socket"
	privateSocket = "unix:path=/run/systemd/private"
)

// patience bounds all that is done over one connection.
const patience = 30 * time.Second

// Property is one setting of a unit.
type Property struct {
	Name  string
	Value dbus.Variant
}

// Set makes a Property of a Go value of the D-Bus type that systemd expects.
func Set(name string, value any) Property { return Property{name, dbus.MakeVariant(value)} }

// Bus is a connection to the systemd of the machine, or of a user. It is for one goroutine.
type Bus struct {
	conn    *dbus.Conn
	manager dbus.BusObject
	ctx     context.Context
	cancel  context.CancelFunc
	signals chan *dbus.Signal // nil until a job is waited for
	direct  bool              // without a bus between
}

// Addresses are those at which the systemd of the machine, or of the calling user, can listen, the best first.
func Addresses(user bool) ([]string, error) {
	if st, err := os.Lstat("/run/systemd/system"); err != nil || !st.IsDir() {
		return nil, errors.New("systemd does not run on this machine (there is no /run/systemd/system)")
	}
	if !user {
		if a := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
			return []string{a}, nil
		}
		return []string{systemSocket, privateSocket}, nil
	}
	if a := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); a != "" {
		return []string{a}, nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if _, err := os.Stat(filepath.Join(dir, "bus")); dir == "" || err != nil {
		return nil, errors.New("this user's systemd cannot be found: neither DBUS_SESSION_BUS_ADDRESS nor a socket $XDG_RUNTIME_DIR/bus is there; is this a login session, and dbus-user-session installed?")
	}
	return []string{"unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(dir, "bus"))}, nil
}

// Dial connects to the first of the addresses that answers.
func Dial(addresses []string) (*Bus, error) {
	var failed error
	for _, a := range addresses {
		b, err := dial(a)
		if err == nil {
			return b, nil
		}
		failed = errors.Join(failed, fmt.Errorf("connect to systemd at %s: %w", a, err))
	}
	return nil, failed
}

func dial(address string) (*Bus, error) {
	b := &Bus{direct: address == privateSocket}
	b.ctx, b.cancel = context.WithTimeout(context.Background(), patience)
	conn, err := dbus.Dial(address, dbus.WithContext(b.ctx))
	if err != nil {
		b.cancel()
		return nil, err
	}
	b.conn = conn
	// No name: the peer asks the socket who this is, which holds in a user namespace too.
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal("")}); err == nil && !b.direct {
		err = conn.Hello()
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	b.manager = conn.Object(service, object)
	return b, nil
}

// Close ends the connection.
func (b *Bus) Close() {
	b.conn.Close()
	b.cancel()
}

func (b *Bus) call(method string, result any, args ...any) error {
	call := b.manager.CallWithContext(b.ctx, manager+method, 0, args...)
	if call.Err != nil || result == nil {
		return call.Err
	}
	return call.Store(result)
}

// isError tells whether systemd gave the error of that name.
func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == service+"."+name
}

// Start makes a transient unit, and returns when it runs. A failed unit of that name, which is only a memory of one, is
// removed first.
func (b *Bus) Start(unit string, properties []Property) error {
	if err := b.listen(); err != nil {
		return err
	}
	type auxiliary struct {
		Name       string
		Properties []Property
	}
	start := func() (job dbus.ObjectPath, err error) {
		err = b.call("StartTransientUnit", &job, unit, "fail", properties, []auxiliary{})
		return job, err
	}
	job, err := start()
	if isError(err, "UnitExists") {
		b.forget(unit)
		job, err = start()
	}
	if isError(err, "UnitExists") {
		return fmt.Errorf("start the unit %s: there is one of that name", unit)
	}
	var result string
	if err == nil {
		result, err = b.wait(job)
	}
	if err == nil && result != "done" {
		err = fmt.Errorf("systemd's answer is %q", result)
		b.forget(unit)
	}
	if err != nil {
		return fmt.Errorf("start the unit %s: %w", unit, err)
	}
	return nil
}

// Stop ends a unit, with all that is in it, and waits for that. One that is gone is no error.
func (b *Bus) Stop(unit string) error {
	if err := b.listen(); err != nil {
		return err
	}
	var job dbus.ObjectPath
	err := b.call("StopUnit", &job, unit, "replace")
	if err == nil {
		_, err = b.wait(job) // another's job in its place ends the unit too
	}
	if err != nil && !isError(err, "NoSuchUnit") {
		return fmt.Errorf("stop the unit %s: %w", unit, err)
	}
	b.forget(unit)
	return nil
}

// forget removes what stays of a failed unit; there may be none.
func (b *Bus) forget(unit string) { _ = b.call("ResetFailedUnit", nil, unit) }

// Change sets properties of a unit until it ends, and returns when they are in force.
func (b *Bus) Change(unit string, properties []Property) error {
	if err := b.call("SetUnitProperties", nil, unit, true, properties); err != nil {
		return fmt.Errorf("set the properties of unit %s: %w", unit, err)
	}
	// systemd answers before it writes to the groups, but writes before it reads the next question.
	_, err := b.Version()
	return err
}

// Attach moves a process into a unit's group, or into the one at path below it.
func (b *Bus) Attach(unit, path string, pid int) error {
	if path != "" {
		path = "/" + path
	}
	if err := b.call("AttachProcessesToUnit", nil, unit, path, []uint32{uint32(pid)}); err != nil {
		return fmt.Errorf("attach process %d to the unit %s: %w", pid, unit, err)
	}
	return nil
}

// Version is systemd's main version number.
func (b *Bus) Version() (int, error) {
	text, err := b.property("Version")
	if err != nil {
		return 0, err
	}
	text = strings.TrimPrefix(text, "v")
	if i := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		text = text[:i]
	}
	return strconv.Atoi(text)
}

// ControlGroup is the path of the group that this systemd manages; "" or "/" is the root.
func (b *Bus) ControlGroup() (string, error) { return b.property("ControlGroup") }

func (b *Bus) property(name string) (string, error) {
	var v dbus.Variant
	err := b.manager.CallWithContext(b.ctx, "org.freedesktop.DBus.Properties.Get", 0, service+".Manager", name).Store(&v)
	if err != nil {
		return "", fmt.Errorf("ask systemd for its %s: %w", name, err)
	}
	text, ok := v.Value().(string)
	if !ok {
		return "", fmt.Errorf("ask systemd for its %s: the answer is no text", name)
	}
	return text, nil
}

// listen asks for the end of jobs to be told, before the first one begins.
func (b *Bus) listen() error {
	if b.signals != nil {
		return nil
	}
	if !b.direct {
		err := b.conn.AddMatchSignalContext(b.ctx, dbus.WithMatchSender(service), dbus.WithMatchObjectPath(object),
			dbus.WithMatchInterface(service+".Manager"), dbus.WithMatchMember("JobRemoved"))
		if err != nil {
			return fmt.Errorf("listen to systemd: %w", err)
		}
	}
	b.signals = make(chan *dbus.Signal, 64)
	b.conn.Signal(b.signals)
	if err := b.call("Subscribe", nil); err != nil {
		return fmt.Errorf("listen to systemd: %w", err)
	}
	return nil
}

// jobGone is the result of a job that ended unheard.
const jobGone = "gone"

// lookAgain is how long to listen before asking whether a job is still there.
const lookAgain = 500 * time.Millisecond

// wait waits for the end of a job and tells its result, or jobGone.
func (b *Bus) wait(job dbus.ObjectPath) (string, error) {
	// A systemd that is asked without a bus may say nothing of the end.
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case s, open := <-b.signals:
			if !open {
				return "", errors.New("the connection to systemd broke")
			}
			if s.Name != manager+"JobRemoved" {
				continue
			}
			var (
				id     uint32
				ended  dbus.ObjectPath
				unit   string
				result string
			)
			if dbus.Store(s.Body, &id, &ended, &unit, &result) == nil && ended == job {
				return result, nil
			}
		case <-look.C:
			id, err := strconv.ParseUint(path.Base(string(job)), 10, 32)
			if err == nil && isError(b.call("GetJob", nil, uint32(id)), "NoSuchJob") && len(b.signals) == 0 {
				return jobGone, nil
			}
		case <-b.ctx.Done():
			return "", fmt.Errorf("systemd did not end its job within %v", patience)
		}
	}
}
