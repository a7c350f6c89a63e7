package netlink

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNewNamespace runs a test on a thread with a network namespace of its own.
func inNewNamespace(t *testing.T) *os.File {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("needs the right to make network namespaces: ", err)
	}
	return namespace(t)
}

func namespace(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// other is one more network namespace.
func other(t *testing.T) *os.File {
	t.Helper()
	done := make(chan *os.File)
	go func() {
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			done <- nil
			return
		}
		f, _ := os.Open("/proc/thread-self/ns/net")
		done <- f
	}()
	f := <-done
	if f == nil {
		t.Fatal("no network namespace")
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "Unknown device type") {
			t.Skip("this kernel has no veth")
		}
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func TestMove(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of Debian's iproute2: ", err)
	}
	own := inNewNamespace(t)
	there := other(t)
	ip(t, "link", "add", "a0", "type", "veth", "peer", "name", "b0")
	ip(t, "link", "set", "a0", "up", "mtu", "1400")
	ip(t, "addr", "add", "192.0.2.1/24", "broadcast", "192.0.2.255", "dev", "a0")
	ip(t, "addr", "add", "192.0.2.9", "peer", "192.0.2.10/32", "metric", "77", "dev", "a0")
	ip(t, "addr", "add", "2001:db8::1/64", "nodad", "noprefixroute", "dev", "a0")
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	link, err := c.Link("a0")
	if err != nil || link.Name != "a0" || !link.Up {
		t.Fatalf("%+v, %v", link, err)
	}
	if _, err := c.Link("nothing"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("error %v", err)
	}
	addresses, err := c.Addresses(link.Index)
	if err != nil {
		t.Fatal(err)
	}
	var global []Address
	for _, a := range addresses {
		if a.Scope == unix.RT_SCOPE_UNIVERSE {
			global = append(global, a)
		}
	}
	if len(global) != 3 || len(addresses) < 3 {
		t.Fatalf("%+v", addresses)
	}
	if err := c.Move(link.Index, there, "moved"); err != nil {
		t.Fatal(err)
	}
	in, err := OpenIn(there)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	moved, err := in.Link("moved")
	if err != nil || moved.Up {
		t.Fatalf("%+v, %v", moved, err)
	}
	for _, a := range global {
		a.Flags &^= unix.IFA_F_PERMANENT
		if err := in.AddAddress(moved.Index, a); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if err := in.AddAddress(moved.Index, global[0]); !errors.Is(err, unix.EEXIST) {
		t.Errorf("error %v", err)
	}
	if err := in.Rename(moved.Index, "eth%d"); err != nil {
		t.Error(err)
	}
	if err := in.SetUp(moved.Index); err != nil {
		t.Error(err)
	}
	if l, err := in.LinkAt(moved.Index); err != nil || l.Name != "eth0" || !l.Up {
		t.Errorf("%+v, %v", l, err)
	}
	again, err := in.Addresses(moved.Index)
	if err != nil {
		t.Fatal(err)
	}
	found := map[netip.Prefix]Address{}
	for _, a := range again {
		found[a.Prefix] = a
	}
	for _, a := range global {
		if f := found[a.Prefix]; f != a {
			t.Errorf("%+v, was %+v", f, a)
		}
	}
	// The calling thread is where it was.
	if l, err := c.Link("b0"); err != nil || l.Name != "b0" {
		t.Errorf("%+v, %v", l, err)
	}
	if err := in.Move(moved.Index, own, "back"); err != nil {
		t.Error(err)
	}
	if _, err := c.Link("back"); err != nil {
		t.Error(err)
	}
	lo, err := c.Link("lo")
	if err != nil {
		t.Fatal(err)
	}
	var refused *Error
	if err := c.Move(lo.Index, there, "lo2"); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	} else {
		t.Log(err)
	}
}

func TestAttributes(t *testing.T) {
	m := AppendUint32(AppendString(nil, 3, "name"), 4|1<<15, 77)
	m = Append(m, 5, nil)
	got := map[uint16][]byte{}
	for kind, value := range Attributes(m) {
		got[kind] = value
	}
	if text(got[3]) != "name" || number(got[4]) != 77 || len(got) != 3 || len(m)%4 != 0 {
		t.Errorf("%v", got)
	}
}

// What comes from the kernel is trusted to be well-meant, not to be well-formed.
func FuzzAnswers(f *testing.F) {
	f.Add(AppendString(linkMessage(1, 2, 3), 3, "eth0"))
	f.Add(Append(addressMessage(2, 24, 0, 1), 1, []byte{192, 0, 2, 1}))
	f.Add(bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseLink([][]byte{data})
		if len(data) >= unix.SizeofIfAddrmsg {
			parseAddress(data)
		}
		refusal(data, unix.NLM_F_ACK_TLVS)
		refusal(data, unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED)
	})
}
