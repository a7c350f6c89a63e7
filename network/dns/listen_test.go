package dns

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// What asks 127.0.0.11:53 reaches the sockets, and port 53 stays the container's.
func TestListen(t *testing.T) {
	n := env.TestNetns(t)
	var udp int
	for range 2 { // the second time as after a container that was killed
		fds, err := Listen(t.TempDir(), t.TempDir(), n.File())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fds.close)
		udp = fds.UDP
	}
	n.Do(func() {
		for _, at := range []string{"127.0.0.1:53", ":53"} {
			pc, err := net.ListenPacket("udp", at)
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			pc.Close()
			l.Close()
		}
		own, err := net.ListenPacket("udp4", ":53")
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		c, err := net.Dial("udp", "127.0.0.11:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("question"))
		buf := make([]byte, 100)
		unix.Poll([]unix.PollFd{{Fd: int32(udp), Events: unix.POLLIN}}, 2000)
		size, from, err := unix.Recvfrom(udp, buf, unix.MSG_DONTWAIT)
		if err != nil || string(buf[:size]) != "question" {
			t.Fatalf("%q, %v", buf[:max(size, 0)], err)
		}
		unix.Sendto(udp, []byte("answer"), 0, from)
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if size, err := c.Read(buf); err != nil || string(buf[:size]) != "answer" {
			t.Fatalf("%q, %v", buf[:size], err)
		}
		s, err := net.Dial("tcp", "127.0.0.11:53")
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := net.DialTimeout("tcp", "127.0.0.11:54", time.Second); err == nil {
			t.Error("another port is answered, too")
		}
	})
}
