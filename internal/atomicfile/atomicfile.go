// Package atomicfile replaces files so that a reader, or a machine that lost
// its power, sees either the old contents or the new, never a part.
package atomicfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Durability says what a write must survive.
type Durability bool

const (
	// Volatile contents survive the death of the process, not of the machine.
	Volatile Durability = false
	// Durable contents were synced, with their directory entry, before the
	// write returns.
	Durable Durability = true
)

// Write replaces path with data. The temporary file lies beside it, so the
// rename never crosses a file system.
func Write(path string, data []byte, mode os.FileMode, d Durability) error {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return err
	}
	if err := replace(f, path, data, mode, d); err != nil {
		os.Remove(f.Name())
		return err
	}
	if d == Durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// replace fills the temporary file, closes it and gives it its name.
func replace(f *os.File, path string, data []byte, mode os.FileMode, d Durability) error {
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if mode != 0o600 { // what it was created with
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if d == Durable {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), path)
}

// WriteJSON replaces path with the JSON of v.
func WriteJSON(path string, v any, mode os.FileMode, d Durability) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return Write(path, append(data, '\n'), mode, d)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
