package dns

import (
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// The resolver answers as the address that was asked, also where nothing has had
// an address when it began: a container on no network yet, or without IPv4.
func TestAnswersHaveTheResolversAddress(t *testing.T) {
	env.NeedRoot(t)
	got := make(chan any)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the namespace
		got <- answerSource(t.TempDir())
	}()
	if source := <-got; source != netip.AddrFrom4(address().As4()) {
		t.Errorf("answers come from %v", source)
	}
}

// answerSource is the address that the resolver of a new namespace sends from, or
// an error.
func answerSource(dir string) any {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	fds, err := Listen(dir, dir, ns)
	if err != nil {
		return err
	}
	defer fds.close()
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Bind(client, local); err != nil {
		return err
	}
	to, err := unix.Getsockname(client)
	if err != nil {
		return err
	}
	if err := unix.Sendto(fds.UDP, []byte("answer"), 0, to); err != nil {
		return err
	}
	_, from, err := unix.Recvfrom(client, make([]byte, 16), 0)
	if err != nil {
		return err
	}
	return netip.AddrFrom4(from.(*unix.SockaddrInet4).Addr)
}
