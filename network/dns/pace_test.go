package dns

import (
	"net"
	"strings"
	"testing"
	"time"
)

// A container that floods its resolver with questions does not get all of the machine: so much is answered, and the rest
// when there is time again.
func TestFlood(t *testing.T) {
	g := newRig(t, nil).start()
	g.name(idOne, "web", other, "10.89.0.3")
	stop := make(chan bool)
	for range 2 {
		go func() {
			c, err := net.Dial("udp", g.addr)
			if err != nil {
				return
			}
			defer c.Close()
			for {
				select {
				case <-stop:
					return
				default:
					c.Write(message(1, "web.", typeA, 0))
				}
			}
		}()
	}
	pipeline := g.dial()
	go func() {
		many := []byte(strings.Repeat(string(framed(message(2, "web.", typeA, 0))), 100))
		for {
			if _, err := pipeline.Write(many); err != nil {
				return
			}
		}
	}()
	go func() {
		for readFramed(pipeline) != nil {
		}
	}()
	begun := time.Now()
	time.Sleep(700 * time.Millisecond)
	g.halt()
	slices := int(time.Since(begun)/slice) + 2
	close(stop)
	if n := g.r.questions; n > slices*perSlice || n < perSlice/2 {
		t.Errorf("%d questions were answered in %d slices", n, slices)
	}
	pipeline.Close()
	g.start()
	time.Sleep(2 * slice)
	g.want("web.", typeA, "Success 10.89.0.3")
}
