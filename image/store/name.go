package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Name says which image a name means.
type Name struct {
	// Name is the whole reference, such as docker.io/library/busybox:latest.
	Name string `json:"name"`
	// Image is the image's ID.
	Image oci.Digest `json:"image"`
	// Manifest is what the name stood for at the registry: the digest of the
	// manifest or index.
	Manifest oci.Digest `json:"manifest"`
}

// fileName is the file of a name: the name itself with its slashes and all
// that is not plain escaped, or its digest when that is too long for a file.
func fileName(name string) string {
	const (
		plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@"
		most  = 200 // leaves room for what a temporary file adds
	)
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; strings.IndexByte(plain, c) >= 0 && (i > 0 || c != '.') {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > most {
		return "%" + flat(oci.FromBytes([]byte(name)))
	}
	return b.String()
}

// SetName gives an image, which must exist, a name, taking it from another.
func (s *Store) SetName(n Name) error {
	if n.Name == "" {
		return errors.New("set name: it is empty")
	}
	f, err := s.lockImage(context.Background(), n.Image, unix.LOCK_SH)
	if err != nil {
		return fmt.Errorf("set name %s: %w", n.Name, err)
	}
	defer f.Close()
	if err := atomicfile.WriteJSON(s.path(nameDir, fileName(n.Name)), n, 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("set name %s: %w", n.Name, err)
	}
	return nil
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
	if err != nil {
		return Name{}, fmt.Errorf("name: %w", err)
	}
	var n Name
	if err := json.Unmarshal(data, &n); err != nil {
		return Name{}, fmt.Errorf("name file %q is %w: %w", file, ErrDamaged, err)
	}
	if fileName(n.Name) != file || n.Image.IsZero() {
		return Name{}, fmt.Errorf("name file %q is %w", file, ErrDamaged)
	}
	return n, nil
}

// DeleteName removes a name; os.ErrNotExist when nothing has it.
func (s *Store) DeleteName(name string) error {
	if name == "" {
		return fmt.Errorf("delete empty name: %w", os.ErrNotExist)
	}
	if err := os.Remove(s.path(nameDir, fileName(name))); err != nil {
		return fmt.Errorf("delete name: %w", err)
	}
	return nil
}

// Names returns all names, sorted. Damaged ones are left out and told in the
// error, beside the good.
func (s *Store) Names() ([]Name, error) {
	files, err := readNames(s.path(nameDir))
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	all := make([]Name, 0, len(files))
	var bad []error
	for _, file := range files {
		if file[0] == '.' {
			continue // being written
		}
		n, err := s.readName(file)
		switch {
		case err == nil:
			all = append(all, n)
		case !errors.Is(err, os.ErrNotExist):
			bad = append(bad, err)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, errors.Join(bad...)
}
