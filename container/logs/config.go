// Package logs keeps the output of a container in files and reads it again.
//
// The format is that of Kubernetes' CRI, a record a line:
//
//	<RFC 3339 time with nanoseconds> stdout|stderr F|P <content>
//
// F ends a line of the container, P is a piece of a line that goes on in the
// next record of the same stream. Every record is written whole; files are
// rotated between records, so each file can be read alone.
package logs

import (
	"fmt"
	"strconv"

	units "github.com/docker/go-units"
)

// The drivers. JSONFile is another name for K8sFile, accepted because
// docker's users write it.
const (
	K8sFile  = "k8s-file"
	JSONFile = "json-file"
	None     = "none"
)

// FileName is the usual name of the newest file.
const FileName = "ctr.log"

// The bounds of a container's output on disk when none are given.
const (
	DefaultMaxSize  = 10 << 20 // bytes a file
	DefaultMaxFiles = 3
)

// Config says where output goes and how much of it is kept.
type Config struct {
	Driver   string `json:"driver,omitempty"`   // "": K8sFile
	Path     string `json:"path,omitempty"`     // of the newest file; older ones are Path.1, Path.2 …
	MaxSize  int64  `json:"maxSize,omitempty"`  // bytes a file; 0: DefaultMaxSize, negative: no bound
	MaxFiles int    `json:"maxFiles,omitempty"` // 0: DefaultMaxFiles
}

// Parse makes a Config of docker's --log-driver and --log-opt: max-size (10m,
// or -1 for no bound) and max-file. Path stays empty.
func Parse(driver string, opts map[string]string) (Config, error) {
	c := Config{Driver: driver}
	switch driver {
	case "", K8sFile, JSONFile:
	case None:
		if len(opts) != 0 {
			return c, fmt.Errorf("log driver none has no options")
		}
	default:
		return c, fmt.Errorf("unknown log driver %q: want %s, %s or %s", driver, K8sFile, JSONFile, None)
	}
	for key, value := range opts {
		if err := c.set(key, value); err != nil {
			return c, fmt.Errorf("log option %s=%s: %w", key, value, err)
		}
	}
	return c, nil
}

func (c *Config) set(key, value string) (err error) {
	switch key {
	case "max-size":
		if value == "-1" {
			c.MaxSize = -1
			return nil
		}
		if c.MaxSize, err = units.RAMInBytes(value); err != nil {
			return err
		}
		if c.MaxSize <= 0 {
			return fmt.Errorf("want a size such as 10m, or -1 for no bound")
		}
	case "max-file":
		if c.MaxFiles, err = strconv.Atoi(value); err != nil || c.MaxFiles < 1 {
			return fmt.Errorf("want the number of files, at least 1")
		}
	default:
		return fmt.Errorf("unknown: want max-size or max-file")
	}
	return nil
}

// Enabled reports whether output is kept at all.
func (c *Config) Enabled() bool { return c.Driver != None }

func (c *Config) maxSize() int64 {
	if c.MaxSize == 0 {
		return DefaultMaxSize
	}
	return c.MaxSize
}

func (c *Config) maxFiles() int {
	if c.MaxFiles < 1 {
		return DefaultMaxFiles
	}
	return c.MaxFiles
}

// older names the file that was rotated n times; 0 is the newest.
func older(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}
