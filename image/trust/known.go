package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/atomicfile"
	"loper.run/internal/flock"
)

const (
	knownName  = "known_signers"
	systemDir  = "/etc/loper"
	maxKnown   = 16 << 20 // bytes
	maxSigners = 8        // of one repository that a first meeting records
)

// Known is one line of a file known_signers: a signer of a repository. Each of
// a repository's signers may sign it.
type Known struct {
	Repository string `json:"repository"` // domain/path
	Signer
	Added time.Time `json:"added"`
}

// Dir is where this user's known signers, keys and trusted root are:
// $XDG_CONFIG_HOME/loper or ~/.config/loper; root's is /etc/loper unless
// XDG_CONFIG_HOME is set.
func Dir() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "loper"), nil
	}
	if os.Geteuid() == 0 {
		return systemDir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".config/loper"), nil
}

// dirs are the directories that are read: the system's, then the user's own.
func dirs() []string {
	own, err := Dir()
	if err != nil || own == systemDir {
		return []string{systemDir}
	}
	return []string{systemDir, own}
}

// AllKnown reads the known signers of the system and of the user.
func AllKnown() (all []Known, err error) {
	for _, dir := range dirs() {
		more, err := readKnown(filepath.Join(dir, knownName))
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// KnownSigners returns who may sign a repository.
func KnownSigners(repository string) (list []Signer, err error) {
	all, err := AllKnown()
	for _, k := range all {
		if k.Repository == repository {
			list = addSigner(list, k.Signer)
		}
	}
	return list, err
}

// readKnown reads one file; a missing one has no lines. Like ssh it refuses a
// file that others may write, and it follows no link: the file decides who is
// believed.
func readKnown(path string) ([]Known, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("known signers: %s is a symbolic link: put the file itself there", path)
	}
	if err != nil {
		return nil, fmt.Errorf("known signers: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("known signers: %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("known signers: %s is not a regular file", path)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("known signers: %s can be written by others: run chmod go-w %s", path, path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("known signers: %s belongs to another user", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKnown+1))
	if err != nil {
		return nil, fmt.Errorf("known signers: %w", err)
	}
	if len(data) > maxKnown {
		return nil, fmt.Errorf("known signers: %s is larger than %d bytes", path, maxKnown)
	}
	var all []Known
	row := 0
	for line := range bytes.Lines(data) {
		row++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		var k Known
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&k); err != nil || dec.More() {
			return nil, fmt.Errorf("known signers: %s:%d: the line is damaged: mend or remove it (%w)", path, row, err)
		}
		if k.Repository == "" || !k.Signer.Is(k.Signer) {
			return nil, fmt.Errorf("known signers: %s:%d: the line names no signer of a repository", path, row)
		}
		all = append(all, k)
	}
	return all, nil
}

// Remember adds signers of a repository to the user's file.
func Remember(repository string, signers ...Signer) error {
	return change(func(all []Known) ([]Known, error) {
		now := time.Now().UTC().Truncate(time.Second)
		for _, s := range signers {
			there := slices.ContainsFunc(all, func(k Known) bool { return k.Repository == repository && k.Signer.Is(s) })
			if !there {
				all = append(all, Known{repository, s, now})
			}
		}
		return all, nil
	})
}

// ErrUnknown tells that a repository has no known signer to forget.
var ErrUnknown = errors.New("no known signer")

// Forget removes the signers of a repository from the user's file, or only the
// one with the fingerprint or subject who.
func Forget(repository, who string) (gone []Signer, err error) {
	err = change(func(all []Known) ([]Known, error) {
		kept := all[:0:0]
		for _, k := range all {
			if k.Repository == repository && (who == "" || k.Fingerprint == who || k.Subject == who) {
				gone = append(gone, k.Signer)
			} else {
				kept = append(kept, k)
			}
		}
		if len(gone) == 0 {
			return nil, fmt.Errorf("%w of %s", ErrUnknown, repository)
		}
		return kept, nil
	})
	return gone, err
}

// change rewrites the user's file, one process after the other.
func change(f func([]Known) ([]Known, error)) error {
	dir, err := Dir()
	if err != nil {
		return fmt.Errorf("known signers: %w", err)
	}
	mode := os.FileMode(0o700)
	if dir == systemDir {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("known signers: %w", err)
	}
	lock, err := flock.Exclusive(filepath.Join(dir, "."+knownName+".lock"))
	if err != nil {
		return fmt.Errorf("known signers: %w", err)
	}
	defer lock.Close()
	path := filepath.Join(dir, knownName)
	all, err := readKnown(path)
	if err != nil {
		return err
	}
	if all, err = f(all); err != nil {
		return err
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Repository < all[j].Repository })
	var text bytes.Buffer
	for _, k := range all {
		line, err := json.Marshal(k)
		if err != nil {
			return fmt.Errorf("known signers: %w", err)
		}
		text.Write(append(line, '\n'))
	}
	if err := atomicfile.Write(path, text.Bytes(), 0o644, atomicfile.Durable); err != nil {
		return fmt.Errorf("known signers: %w", err)
	}
	return nil
}
