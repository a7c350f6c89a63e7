package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"loper.run/network"
)

// What the kernel lacks is found out by monitors, which nobody listens to. The
// first leaves word, in a file that lasts until the machine's next start, and the
// command that finds it there tells it, once.
const (
	lackFile = "lacks"
	toldFile = "lacks.told"
)

func leaveWord(store *network.Store, module string) error {
	if _, err := os.Lstat(filepath.Join(store.Dir(""), toldFile)); err == nil {
		return nil
	}
	if err := os.MkdirAll(store.Dir(""), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(store.Dir(""), lackFile), []byte(module), 0o600)
}

// Word is what people should know of what the kernel lacked when a container was
// connected, and nobody was told yet; "": nothing.
func Word(store *network.Store) (string, error) {
	told := filepath.Join(store.Dir(""), toldFile)
	err := os.Rename(filepath.Join(store.Dir(""), lackFile), told)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	module, err := os.ReadFile(told)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the kernel lacks %s: when somebody flushes all rules of its packet filter, containers can be reached by their addresses, and internal networks have a way out, until the rules are back; load it (modprobe %[1]s), then: loper network reload", module), nil
}
