package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// Names of the images that need no registry.
const (
	Host  = "host"  // the machine's own root
	Hello = "hello" // this program, which tells what isolates it
)

// helloDomain is the registry in the name under which the hello image is kept.
// No host can have it: the top-level domain is reserved (RFC 2606).
const (
	helloDomain = "builtin.invalid"
	helloName   = helloDomain + "/hello:latest"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// hostImage is the machine's root as the only layer.
func hostImage() *Image {
	shell := "sh"
	if _, err := os.Stat("/bin/bash"); err == nil {
		shell = "bash"
	}
	return &Image{
		ID: oci.FromBytes([]byte("loper: the machine's own root")), Names: []string{Host}, Builtin: Host,
		Platform: oci.Host(), Layers: []string{"/"},
		Config: oci.ImageConfig{Env: []string{defaultPath}, Cmd: []string{shell}},
	}
}

// hello returns the image of this very program, making it when the program is
// new. Its layer's key is made from what changes when the file does.
func (s *Store) hello() (*Image, error) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("image hello: %w", err)
	}
	defer exe.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(exe.Fd()), &st); err != nil {
		return nil, fmt.Errorf("image hello: stat %s: %w", exe.Name(), err)
	}
	key := oci.FromBytes(fmt.Appendf(nil, "hello dev=%d ino=%d size=%d mtime=%d.%09d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec))
	created := time.Unix(st.Mtim.Unix()).UTC()
	config, err := json.Marshal(oci.Image{
		Platform: oci.Host(), Created: &created,
		Config: oci.ImageConfig{Env: []string{defaultPath}, Entrypoint: []string{"/hello"}},
		RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{key}},
	})
	if err != nil {
		return nil, fmt.Errorf("image hello: %w", err)
	}
	id := oci.FromBytes(config)
	if n, err := s.files.Name(helloName); err == nil && n.Image == id {
		if img, err := s.loadHello(id); err == nil {
			return img, nil
		}
	}
	if err := checkStatic(); err != nil {
		return nil, fmt.Errorf("image hello: %w", err)
	}
	if err := s.makeHello(exe, key, id, config, created); err != nil {
		return nil, fmt.Errorf("image hello: %w", err)
	}
	return s.loadHello(id)
}

// checkStatic makes sure that the program runs where there is nothing else.
func checkStatic() error {
	info, _ := debug.ReadBuildInfo()
	if info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"}) {
		return errors.New("this loper was built with cgo and needs libraries that the image doesn't have; build it with CGO_ENABLED=0, as 'make' does")
	}
	return nil
}

func (s *Store) loadHello(id oci.Digest) (*Image, error) {
	img, err := s.load(id)
	if err != nil {
		return nil, err
	}
	img.Builtin, img.Names = Hello, []string{Hello}
	return img, nil
}

func (s *Store) makeHello(exe *os.File, key, id oci.Digest, config []byte, created time.Time) error {
	ctx := context.Background()
	release, err := s.files.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	l, err := s.helloLayer(ctx, exe, key)
	if err != nil {
		return err
	}
	if err := s.files.PutBlob(id, config); err != nil {
		return err
	}
	rec := store.Image{ID: id, Manifest: id, Layers: []oci.Digest{key}, Size: l.Size, Created: created, PulledAt: time.Now()}
	if err := s.files.PutImage(rec); err != nil {
		return err
	}
	old, oldErr := s.files.Name(helloName)
	if err := s.files.SetName(store.Name{Name: helloName, Image: id, Manifest: id}); err != nil {
		return err
	}
	if oldErr == nil && old.Image != id {
		// The record of the program before an update; its files go with the
		// next collection, unless a container still holds it.
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		s.files.DeleteImage(ctx, old.Image, nil)
	}
	return nil
}

func (s *Store) helloLayer(ctx context.Context, exe *os.File, key oci.Digest) (store.Layer, error) {
	staging, err := s.files.BeginLayer(ctx, key)
	if errors.Is(err, store.ErrPresent) {
		return s.files.Layer(key)
	}
	if err != nil {
		return store.Layer{}, err
	}
	defer staging.Abort()
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", staging.Dir.Fd()))
	if err != nil {
		return store.Layer{}, err
	}
	defer root.Close()
	dirs := []string{"dev", "proc", "sys", "etc", "tmp"}
	for _, dir := range dirs {
		if err := root.Mkdir(dir, 0o755); err != nil {
			return store.Layer{}, err
		}
	}
	f, err := root.OpenFile("hello", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return store.Layer{}, err
	}
	defer f.Close()
	// Where the file system can, the copy shares the program's blocks.
	size := int64(0)
	if err := unix.IoctlFileClone(int(f.Fd()), int(exe.Fd())); err != nil {
		if size, err = io.Copy(f, exe); err != nil {
			return store.Layer{}, err
		}
	}
	if err := f.Chmod(0o755); err != nil {
		return store.Layer{}, err
	}
	return staging.Commit(size, int64(len(dirs))+1)
}
