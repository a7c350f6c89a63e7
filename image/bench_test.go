package image

import (
	"fmt"
	"testing"

	"loper.run/image/oci"
)

// Every run of a container resolves an image first.
func BenchmarkFind(b *testing.B) {
	for _, images := range []int{1, 100} {
		b.Run(fmt.Sprint(images), func(b *testing.B) {
			s, name := filled(b, images)
			for b.Loop() {
				if _, err := s.Find(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	s, _ := filled(b, 100)
	for b.Loop() {
		if imgs, err := s.List(); err != nil || len(imgs) != 100 {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B, images int) (s *Store, name string) {
	f, s := newFake(b), open(b)
	for i := range images {
		f.image(b, fmt.Sprint("t", i), oci.Host(), plain(b, "a", "1"), plain(b, "b", "2"), plain(b, "c", "3"))
		name = f.Listener.Addr().String() + fmt.Sprint("/r:t", i)
		if _, err := s.Pull(b.Context(), name, PullOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	return s, name
}
