package cgroup

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeSystemd is a bus with systemd behind it, as far as Loper asks: it records calls, and makes groups by its hooks.
type fakeSystemd struct {
	t       *testing.T
	address string
	version string
	start   func(unit string, pids []uint32) string // gives the job's result
	stop    func(unit string)

	mu    sync.Mutex
	units map[string]bool
	calls []call
}

// call is one call that was made: its name and the text of its arguments.
type call struct {
	method, unit string
	properties   map[string]string
	args         string
}

func newFakeSystemd(t *testing.T) *fakeSystemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSystemd{t: t, address: "unix:path=" + dbus.EscapeBusAddressValue(path), version: "252.38-1~deb12u1", units: map[string]bool{},
		start: func(string, []uint32) string { return "done" }, stop: func(string) {}}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(c) })
		}
	})
	return f
}

// serve authenticates the other side as a bus does, and answers its calls.
func (f *fakeSystemd) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	if b, err := in.ReadByte(); err != nil || b != 0 {
		return
	}
	for begun := false; !begun; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer := "ERROR"
		switch line = strings.TrimSpace(line); line {
		case "AUTH":
			answer = "REJECTED EXTERNAL"
		case "AUTH EXTERNAL":
			answer = "DATA"
		case "DATA":
			answer = "OK 0123456789abcdef0123456789abcdef"
		case "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD"
		case "BEGIN":
			begun = true
			continue
		}
		if _, err := c.Write([]byte(answer + "\r\n")); err != nil {
			return
		}
	}
	out, err := dbus.NewConn(c) // for its numbers of messages
	if err != nil {
		f.t.Error(err)
		return
	}
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		reply, after := f.answer(m)
		reply.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(m.Serial())
		for _, m := range []*dbus.Message{reply, after} {
			if m != nil {
				if call := out.Send(m, nil); call.Err != nil {
					f.t.Error(call.Err)
				}
			}
		}
	}
}

func reply(body ...any) *dbus.Message {
	m := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

func refusal(name, text string) *dbus.Message {
	m := reply(text)
	m.Type = dbus.TypeError
	m.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.systemd1." + name)
	return m
}

func removed(job dbus.ObjectPath, unit, result string) *dbus.Message {
	m := reply(uint32(7), job, unit, result)
	m.Type = dbus.TypeSignal
	m.Headers[dbus.FieldPath] = dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1"))
	m.Headers[dbus.FieldInterface] = dbus.MakeVariant("org.freedesktop.systemd1.Manager")
	m.Headers[dbus.FieldMember] = dbus.MakeVariant("JobRemoved")
	m.Headers[dbus.FieldSender] = dbus.MakeVariant(":1.1")
	return m
}

const fakeJob = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")

func (f *fakeSystemd) answer(m *dbus.Message) (answer, after *dbus.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	method, _ := m.Headers[dbus.FieldMember].Value().(string)
	text := func(i int) string {
		s, _ := m.Body[i].(string)
		return s
	}
	switch method {
	case "Hello":
		return reply(":1.42"), nil
	case "AddMatch", "Subscribe":
		return reply(), nil
	case "Get":
		if text(1) == "Version" {
			return reply(dbus.MakeVariant(f.version)), nil
		}
		return reply(dbus.MakeVariant("/user.slice/user-1000.slice/user@1000.service")), nil
	}
	made := call{method: method, unit: text(0), properties: map[string]string{}}
	for _, arg := range m.Body[1:] {
		if list, ok := arg.([][]any); ok && made.properties != nil {
			for _, p := range list {
				v := p[1].(dbus.Variant)
				made.properties[p[0].(string)] += v.String()
				if p[0] == "DeviceAllow" && v.Signature().String() != "a(ss)" {
					f.t.Errorf("DeviceAllow is of type %v", v.Signature())
				}
			}
			continue
		}
		made.args += dbus.MakeVariant(arg).String() + " "
	}
	f.calls = append(f.calls, made)
	switch method {
	case "StartTransientUnit":
		if f.units[made.unit] {
			return refusal("UnitExists", "Unit "+made.unit+" already exists."), nil
		}
		var pids []uint32
		for _, p := range m.Body[2].([][]any) {
			if p[0] == "PIDs" {
				pids, _ = p[1].(dbus.Variant).Value().([]uint32)
			}
		}
		result := f.start(made.unit, pids)
		f.units[made.unit] = result == "done"
		return reply(fakeJob), removed(fakeJob, made.unit, result)
	case "StopUnit":
		if !f.units[made.unit] {
			return refusal("NoSuchUnit", "Unit "+made.unit+" not loaded."), nil
		}
		f.stop(made.unit)
		delete(f.units, made.unit)
		return reply(fakeJob), removed(fakeJob, made.unit, "done")
	case "SetUnitProperties":
		if _, bad := made.properties["Refused"]; bad {
			return refusal("PropertyReadOnly", "Cannot set property Refused"), nil
		}
	}
	return reply(), nil
}

// last is the newest call of that method.
func (f *fakeSystemd) last(method string) call {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.calls) - 1; i >= 0; i-- {
		if f.calls[i].method == method {
			return f.calls[i]
		}
	}
	f.t.Fatalf("%s was not called, but %v", method, f.calls)
	return call{}
}
