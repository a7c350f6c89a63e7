package link_test

import (
	"fmt"
	"testing"
	"time"

	"loper.run/network/link"
	"loper.run/test/env"
)

// A container more costs the same, whether there are few or many.
func BenchmarkConnect(b *testing.B) {
	for _, others := range []int{1, 100} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			host(b)
			for i := range others {
				connect(b, sandbox(i+1000))
			}
			s := sandbox(2)
			var connecting, disconnecting time.Duration
			for range b.N {
				n := env.TestNetns(b)
				start := time.Now()
				if err := link.Connect(s, n.File(), noRules); err != nil {
					b.Fatal(err)
				}
				connecting += time.Since(start)
				start = time.Now()
				if err := link.Disconnect(s); err != nil {
					b.Fatal(err)
				}
				disconnecting += time.Since(start)
				if err := link.DisconnectOne(s, &s.Endpoints[0], n.File()); err != nil {
					b.Fatal(err)
				}
				n.Close()
			}
			b.ReportMetric(float64(connecting.Microseconds())/float64(b.N), "µs/connect")
			b.ReportMetric(float64(disconnecting.Microseconds())/float64(b.N), "µs/disconnect")
		})
	}
}
