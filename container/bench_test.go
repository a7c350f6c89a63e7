package container

import (
	"testing"

	"loper.run/image"
	"loper.run/image/oci"
)

// BenchmarkCreateRemove is what a container costs without its run.
func BenchmarkCreateRemove(b *testing.B) {
	e, err := Open(b.TempDir()+"/root", b.TempDir()+"/run")
	if err != nil {
		b.Fatal(err)
	}
	img := &image.Image{ID: oci.FromBytes([]byte("host")), Builtin: "host", Layers: []string{"/"}}
	for b.Loop() {
		c, err := e.Create(b.Context(), Settings{Command: []string{"true"}, AutoRemove: true}, img)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Remove(RemoveOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
