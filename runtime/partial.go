package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"loper.run/runtime/specjson"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// LoadProcess reads a file with a process as in config.json. What is in it is
// checked by Exec.
func LoadProcess(path string) (*specs.Process, error) {
	spec, err := loadPart(path, `{"process":`, `}`)
	if err == nil && spec.Process == nil {
		err = fmt.Errorf("%s: has no process", path)
	}
	if err != nil {
		return nil, err
	}
	return spec.Process, nil
}

// LoadResources reads a file, or standard input for "-", with limits as
// linux.resources in config.json. They are checked by Update.
func LoadResources(path string) (*specs.LinuxResources, error) {
	spec, err := loadPart(path, `{"linux":{"resources":`, `}}`)
	if err == nil && spec.Linux.Resources == nil {
		err = fmt.Errorf("%s: has no limits", path)
	}
	if err != nil {
		return nil, err
	}
	return spec.Linux.Resources, nil
}

// LoadMounts reads a file with a list of mounts as in config.json, or with an
// object that has them as its mounts. They are checked by AddMounts.
func LoadMounts(path string) ([]specs.Mount, error) {
	spec, err := loadPart(path, `{"mounts":`, `}`)
	if err != nil {
		return nil, err
	}
	return spec.Mounts, nil
}

// loadPart reads a file with a part of a config.json, which the texts before
// and after make a whole one.
func loadPart(path, before, after string) (*specs.Spec, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	data, err := readLimited(f)
	if err != nil {
		return nil, err
	}
	return parsePart(path, data, before, after)
}

func parsePart(path string, data []byte, before, after string) (*specs.Spec, error) {
	if data = bytes.TrimSpace(data); bytes.HasPrefix(data, []byte("{")) && before == `{"mounts":` {
		before, after = "", ""
	}
	if !json.Valid(data) { // by itself, so that nothing of it can close what is around it
		var any json.RawMessage
		return nil, partError(path, decodeError(data, json.Unmarshal(data, &any)))
	}
	whole := bytes.Join([][]byte{[]byte(before), data, []byte(after)}, nil)
	spec, err := specjson.Decode(whole)
	if err != nil {
		spec = &specs.Spec{}
		if err := json.Unmarshal(whole, spec); err != nil {
			return nil, partError(path, decodeError(whole, err))
		}
	}
	return spec, nil
}

// partError names the file that the mistake is in.
func partError(path string, err error) error {
	return errors.New(path + ": " + strings.TrimPrefix(err.Error(), "config.json: "))
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
