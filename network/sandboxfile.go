package network

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"loper.run/internal/atomicfile"
	"loper.run/internal/quickjson"
)

// maxSandbox bounds a network.json. A thousand published ports take 100 KiB.
const maxSandbox = 16 << 20

// ReadSandbox reads network.json of the container with this run directory.
// errors.Is(err, os.ErrNotExist): it has none, being on no network.
func ReadSandbox(runDir string) (*Sandbox, error) {
	f, err := os.Open(filepath.Join(runDir, SandboxFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSandbox))
	if err != nil {
		return nil, err
	}
	s := new(Sandbox)
	if err := quickjson.Decode(data, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return s, nil
}

// Write writes network.json into a container's run directory, for all to see at once.
func (s *Sandbox) Write(runDir string) error {
	data, err := quickjson.Encode(s)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(runDir, SandboxFile), data, 0o600, atomicfile.Volatile)
}
