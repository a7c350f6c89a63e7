package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Name says what a name means: an image, or an index and those of its images
// that are here.
type Name struct {
	// Name is the whole reference, such as docker.io/library/busybox:latest.
	Name string `json:"name"`
	// Image is the ID of the image that is meant where no platform is asked
	// for. Only a List may have none.
	Image oci.Digest `json:"image,omitzero"`
	// Others are the images for further platforms that the same index names.
	Others []oci.Digest `json:"others,omitempty"`
	// Manifest is what the name stands for, here and at a registry: the digest
	// of the manifest or index.
	Manifest oci.Digest `json:"manifest"`
	// List says that Manifest is an index that was made here. It stays when
	// its images go, and may name manifests that only registries have.
	List bool `json:"list,omitempty"`
	// Blobs are kept for the name, as Manifest is: the manifests in a List.
	Blobs []oci.Digest `json:"blobs,omitempty"`
	// Sources tell from which repository the manifests in a List can be had.
	Sources map[string]string `json:"sources,omitempty"`
}

// Images returns the IDs of the images that the name has, Image first.
func (n Name) Images() []oci.Digest {
	if n.Image.IsZero() {
		return nil
	}
	return append([]oci.Digest{n.Image}, n.Others...)
}

// Has reports whether the name has an image.
func (n Name) Has(id oci.Digest) bool { return slices.Contains(n.Images(), id) }

// Without is the name without one of its images.
func (n Name) Without(id oci.Digest) Name {
	return n.keeping(func(d oci.Digest) bool { return d != id })
}

// keeping is the name with those of its images that keep says to.
func (n Name) keeping(keep func(oci.Digest) bool) Name {
	images := slices.DeleteFunc(n.Images(), func(d oci.Digest) bool { return !keep(d) })
	n.Image, n.Others = oci.Digest{}, nil
	if len(images) > 0 {
		n.Image, n.Others = images[0], images[1:]
	}
	return n
}

// fileName is the file of a name: the name itself with its slashes and all
// that is not plain escaped, or its digest when that is too long for a file.
func fileName(name string) string {
	const (
		plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@"
		most  = 200 // leaves room for what a temporary file adds
	)
	var b strings.Builder
	b.Grow(len(name) + 16)
	for i := range len(name) {
		if c := name[i]; strings.IndexByte(plain, c) >= 0 && (i > 0 || c != '.') {
			b.WriteByte(c)
		} else {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	if b.Len() > most {
		return "%" + flat(oci.FromBytes([]byte(name)))
	}
	return b.String()
}

// SetName gives an image, which must exist, a name, taking it from another.
func (s *Store) SetName(n Name) error {
	return s.UpdateName(n.Name, func(Name) (Name, error) { return n, nil })
}

// UpdateName changes what a name means, or makes it: change gets what it means
// now, which is nothing when its Name is empty, and returns what it is to mean.
// The images in that must exist, and so must the blobs of a List.
func (s *Store) UpdateName(name string, change func(old Name) (Name, error)) error {
	if name == "" {
		return errors.New("set name: it is empty")
	}
	unlock, err := s.lockNames()
	if err != nil {
		return fmt.Errorf("set name %s: %w", name, err)
	}
	defer unlock()
	old, err := s.Name(name)
	if err != nil {
		old = Name{} // absent, or damaged and now mended
	}
	n, err := change(old)
	if err != nil {
		return err
	}
	if n.Name = name; n.Image.IsZero() && !n.List {
		return fmt.Errorf("set name %s: it has no image", name)
	}
	for _, id := range n.Images() {
		if _, err := os.Lstat(filepath.Join(s.place(imageDir, id), imageFile)); err != nil {
			return fmt.Errorf("set name %s: %w", name, err)
		}
	}
	if n.List && !s.hasBlob(n.Manifest) {
		return fmt.Errorf("set name %s: blob %s: %w", name, n.Manifest, os.ErrNotExist)
	}
	return s.writeName(n)
}

// lockNames keeps others from changing names. It is taken after all other locks.
func (s *Store) lockNames() (unlock func(), err error) {
	f, err := hold(context.Background(), s.path(nameDir), onlyDir, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (s *Store) writeName(n Name) error {
	if err := atomicfile.WriteJSON(s.path(nameDir, fileName(n.Name)), n, 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("set name %s: %w", n.Name, err)
	}
	return nil
}

// forget takes images out of all names that have them; a name that has none
// left goes, unless it is a List. It returns how many went. The caller holds
// the lock of the names.
func (s *Store) forget(gone func(oci.Digest) bool) (int, error) {
	names, _ := s.Names() // damaged ones stay for their owner to look at
	removed := 0
	for _, n := range names {
		rest := n.keeping(func(id oci.Digest) bool { return !gone(id) })
		switch {
		case len(rest.Images()) == len(n.Images()):
			continue
		case rest.Image.IsZero() && !rest.List:
			if err := s.deleteName(n.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return removed, err
			}
			removed++
		default:
			if err := s.writeName(rest); err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// Name looks a name up; os.ErrNotExist when nothing has it.
func (s *Store) Name(name string) (Name, error) {
	if name == "" {
		return Name{}, fmt.Errorf("empty name: %w", os.ErrNotExist)
	}
	return s.readName(fileName(name))
}

func (s *Store) readName(file string) (Name, error) {
	data, err := readFile(s.path(nameDir, file), maxRecord)
	return asName(file, data, err)
}

// asName makes a name of what its file has.
func asName(file string, data []byte, err error) (n Name, _ error) {
	if err != nil {
		return Name{}, fmt.Errorf("name: %w", err)
	}
	if err := decodeName(data, &n); err != nil {
		return Name{}, fmt.Errorf("name file %q is %w: %w", file, ErrDamaged, err)
	}
	if fileName(n.Name) != file || n.Image.IsZero() && (!n.List || n.Manifest.IsZero()) {
		return Name{}, fmt.Errorf("name file %q is %w", file, ErrDamaged)
	}
	return n, nil
}

// DeleteName removes a name; os.ErrNotExist when nothing has it.
func (s *Store) DeleteName(name string) error {
	if name == "" {
		return fmt.Errorf("delete empty name: %w", os.ErrNotExist)
	}
	unlock, err := s.lockNames()
	if err != nil {
		return fmt.Errorf("delete name: %w", err)
	}
	defer unlock()
	return s.deleteName(name)
}

func (s *Store) deleteName(name string) error {
	if err := os.Remove(s.path(nameDir, fileName(name))); err != nil {
		return fmt.Errorf("delete name: %w", err)
	}
	return nil
}

// Names returns all names, sorted. Damaged ones are left out and told in the
// error, beside the good.
func (s *Store) Names() ([]Name, error) {
	dir, err := os.Open(s.path(nameDir))
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	defer dir.Close()
	files, err := nameFiles(dir)
	if err != nil {
		return nil, err
	}
	all, errs := make([]Name, len(files)), make([]error, len(files))
	bulk(dir, files, func(i int, data []byte, err error) { all[i], errs[i] = asName(files[i], data, err) })
	return sortNames(all), errors.Join(errs...)
}

// nameFiles lists the files of names, but not those being written.
func nameFiles(dir *os.File) ([]string, error) {
	files, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return file[0] == '.' }), nil
}

// sortNames leaves out the names that could not be read.
func sortNames(all []Name) []Name {
	all = slices.DeleteFunc(all, func(n Name) bool { return n.Name == "" })
	slices.SortFunc(all, func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return all
}
