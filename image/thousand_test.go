package image

import (
	"os"
	"testing"
)

// BenchmarkListThousand lists the store that store.BenchmarkThousand made.
func BenchmarkListThousand(b *testing.B) {
	dir := os.Getenv("LOPER_TEST_THOUSAND")
	if dir == "" {
		b.Skip("needs LOPER_TEST_THOUSAND, a store of 1,000 images")
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if all, err := s.List(); err != nil || len(all) < 1000 {
			b.Fatal(len(all), err)
		}
	}
}
