package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// In a conversation with a server that answers soon, most acknowledgements come with the answer.
func TestOutConversation(t *testing.T) {
	w := newWorld(t, wayOut())
	l := listen(t, w.peer, peerAddress+":0")
	go serveEach(l, told)
	c, err := dial(w.user, "tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = io.WriteString(c, "=")
	must(t, err)
	const exchanges = 1000
	before := w.packets("out0")
	for range exchanges {
		_, err := io.WriteString(c, "x")
		must(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		must(t, err)
	}
	if n := w.packets("out0") - before; n < exchanges || n > exchanges*7/4 {
		t.Errorf("%d packets for %d answers", n, exchanges)
	}
}

// packets is how many packets have come from an interface of the user's namespace.
func (w *world) packets(name string) (n int) {
	w.t.Helper()
	var data []byte
	var err error
	w.user.Do(func() { data, err = os.ReadFile("/proc/thread-self/net/dev") })
	must(w.t, err)
	_, line, _ := strings.Cut(string(data), name+":")
	var bytes int
	if _, err := fmt.Sscan(line, &bytes, &n); err != nil {
		w.t.Fatalf("%q: %v", data, err)
	}
	return n
}
