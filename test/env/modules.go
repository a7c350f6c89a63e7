package env

import (
	"fmt"
	"os/exec"
)

// BuildVerify builds loper-verify as make does, into dir.
func BuildVerify(dir string) error { return target("verify", dir) }

// BuildNet builds loper-net as make does, into dir.
func BuildNet(dir string) error { return target("net", dir) }

func target(name, dir string) error {
	out, err := exec.Command("make", "-s", "-C", Source(), name, "BUILD_DIR="+dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make %s: %w\n%s", name, err, out)
	}
	return nil
}
