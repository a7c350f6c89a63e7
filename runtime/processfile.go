package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// LoadProcess reads a file with a process as in config.json. What is in it is
// checked by Exec.
func LoadProcess(path string) (*specs.Process, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readLimited(f)
	if err != nil {
		return nil, err
	}
	p := &specs.Process{}
	var kind *json.UnmarshalTypeError
	if err := json.Unmarshal(data, p); errors.As(err, &kind) {
		return nil, fmt.Errorf("%s: %s: is a %s, where a %s is expected", path, kind.Field, kind.Value, kind.Type)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// readLimited reads a file that should have the size of a config.json.
func readLimited(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%s is larger than %d bytes", f.Name(), maxConfig)
	}
	return data, nil
}
