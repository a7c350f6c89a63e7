package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Layer is an unpacked layer.
type Layer struct {
	// DiffID is the digest of the uncompressed tar.
	DiffID oci.Digest `json:"diffID"`
	// Size is what its regular files hold, in bytes.
	Size      int64     `json:"size"`
	Entries   int64     `json:"entries"`
	CreatedAt time.Time `json:"createdAt"`
	// Recorded tells that there is a record of the tree beside this one.
	Recorded bool `json:"recorded,omitempty"`
	// Dir is the absolute directory of the tree.
	Dir string `json:"-"`
}

const (
	layerFile = "layer.json"
	treeDir   = "diff"
	// maxRecord bounds the JSON files of the store, in bytes.
	maxRecord = 4 << 20
)

// Layer returns a published layer. The error is os.ErrNotExist when there is
// none or what is there is no whole one, so that it is made anew.
func (s *Store) Layer(diffID oci.Digest) (Layer, error) {
	l, err := s.readLayer(diffID)
	for _, broken := range []error{ErrDamaged, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, broken) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", diffID, err)
	}
	return l, nil
}

func (s *Store) readLayer(diffID oci.Digest) (l Layer, err error) {
	if diffID.IsZero() {
		return l, os.ErrNotExist
	}
	dir := s.place(layerDir, diffID)
	data, err := readFile(filepath.Join(dir, layerFile), maxRecord)
	if err != nil {
		return l, err
	}
	if json.Unmarshal(data, &l) != nil || l.DiffID != diffID {
		return l, ErrDamaged
	}
	l.Dir = filepath.Join(dir, treeDir)
	var st unix.Stat_t
	if err := unix.Lstat(l.Dir, &st); err != nil {
		return l, &os.PathError{Op: "stat", Path: l.Dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return l, ErrDamaged
	}
	return l, nil
}

// Staging is a layer being unpacked.
type Staging struct {
	// Dir is the open directory of the tree.
	Dir *os.File

	s      *Store
	diffID oci.Digest
	path   string
	lock   *os.File // the directory at path; nil at the end
	whole  *Layer   // what Sync made durable
}

// BeginLayer returns an empty directory to unpack a layer into, which the
// caller alone holds until Commit or Abort. It waits while somebody else
// unpacks the same layer; the error is ErrPresent when the layer is (then) there.
func (s *Store) BeginLayer(ctx context.Context, diffID oci.Digest) (*Staging, error) {
	if diffID.IsZero() {
		return nil, errors.New("begin layer: it has no digest")
	}
	if _, err := s.Layer(diffID); err == nil {
		return nil, ErrPresent
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	st, err := s.holdStaging(ctx, diffID)
	if err != nil {
		return nil, err
	}
	if _, err := s.Layer(diffID); err == nil {
		return nil, errors.Join(ErrPresent, st.Abort())
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, st.Abort())
	}
	return st, st.begin()
}

// MendLayer is BeginLayer for a layer that is there but not as it should be:
// Commit replaces it in one step. Nobody may be using it.
func (s *Store) MendLayer(ctx context.Context, diffID oci.Digest) (*Staging, error) {
	st, err := s.holdStaging(ctx, diffID)
	if err != nil {
		return nil, err
	}
	return st, st.begin()
}

func (s *Store) holdStaging(ctx context.Context, diffID oci.Digest) (*Staging, error) {
	st := &Staging{s: s, diffID: diffID, path: s.path(stagingDir, flat(diffID))}
	for {
		if err := os.Mkdir(st.path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("begin layer: %w", err)
		}
		f, err := hold(ctx, st.path, onlyDir, unix.LOCK_EX)
		if errors.Is(err, os.ErrNotExist) {
			continue // published or removed since
		}
		if err != nil {
			return nil, fmt.Errorf("begin layer %s: %w", diffID, err)
		}
		st.lock = f
		return st, nil
	}
}

// begin empties what a killed process has left and opens the tree, or gives up.
func (st *Staging) begin() error {
	if err := st.empty(); err != nil {
		return errors.Join(fmt.Errorf("begin layer %s: %w", st.diffID, err), st.Abort())
	}
	return nil
}

func (st *Staging) empty() error {
	names, err := readNames(st.path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := st.s.remove(st.path, name); err != nil {
			return err
		}
	}
	tree := filepath.Join(st.path, treeDir)
	if err := os.Mkdir(tree, 0o700); err != nil {
		return err
	}
	st.Dir, err = os.OpenFile(tree, onlyDir|unix.O_NOFOLLOW, 0)
	return err
}

// Sync makes the unpacked layer durable, and with it all else of the file system
// that was written before.
func (st *Staging) Sync(size, entries int64) error {
	if st.lock == nil {
		return fmt.Errorf("sync layer %s: %w", st.diffID, os.ErrClosed)
	}
	l := Layer{DiffID: st.diffID, Size: size, Entries: entries, CreatedAt: time.Now().UTC().Round(time.Second), Recorded: true}
	err := atomicfile.WriteJSON(filepath.Join(st.path, layerFile), l, 0o600, atomicfile.Volatile)
	if err == nil {
		err = st.record()
	}
	if err == nil {
		// One sync of the file system costs less than one of each file.
		err = os.NewSyscallError("syncfs", unix.Syncfs(int(st.lock.Fd())))
	}
	if err != nil {
		return fmt.Errorf("sync layer %s: %w", st.diffID, err)
	}
	st.whole = &l
	return nil
}

// Commit syncs the layer, unless Sync did, and publishes it; the caller has
// verified its digest. When it fails the layer is still held: Abort it.
func (st *Staging) Commit(size, entries int64) (Layer, error) {
	if st.whole == nil {
		if err := st.Sync(size, entries); err != nil {
			return Layer{}, err
		}
	}
	l, err := st.publish(*st.whole)
	if err != nil {
		return Layer{}, fmt.Errorf("publish layer %s: %w", st.diffID, err)
	}
	st.close()
	return l, nil
}

func (st *Staging) publish(l Layer) (Layer, error) {
	place := st.s.place(layerDir, st.diffID)
	if err := makeDir(filepath.Dir(place)); err != nil {
		return l, err
	}
	err := os.Rename(st.path, place)
	if errors.Is(err, os.ErrExist) || errors.Is(err, unix.ENOTDIR) {
		// What is there is broken. It changes places with this one, and goes.
		err = unix.Renameat2(unix.AT_FDCWD, st.path, unix.AT_FDCWD, place, unix.RENAME_EXCHANGE)
		if err == nil {
			err = st.s.remove(filepath.Dir(st.path), filepath.Base(st.path))
		} else if err = st.s.discard(place); err == nil {
			err = os.Rename(st.path, place)
		}
	}
	if err != nil {
		return l, err
	}
	l.Dir = filepath.Join(place, treeDir)
	return l, atomicfile.SyncDir(filepath.Dir(place))
}

// Abort removes what was unpacked. It is harmless after Commit, so it can be deferred.
func (st *Staging) Abort() error {
	if st.lock == nil {
		return nil
	}
	err := st.s.remove(filepath.Dir(st.path), filepath.Base(st.path))
	st.close()
	return err
}

func (st *Staging) close() {
	if st.Dir != nil {
		st.Dir.Close()
	}
	st.lock.Close()
	st.lock = nil
}

// discard removes a layer, which disappears in one step.
func (s *Store) discard(place string) error {
	f, err := hold(context.Background(), place, onlyDir, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return os.Remove(place) // no work of ours
	}
	if err != nil {
		return err
	}
	defer f.Close()
	gone := "gone-" + filepath.Base(place)
	if err := s.remove(s.path(stagingDir), gone); err != nil {
		return err
	}
	if err := os.Rename(place, s.path(stagingDir, gone)); err != nil {
		return err
	}
	return s.remove(s.path(stagingDir), gone)
}
