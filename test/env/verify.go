package env

import (
	"fmt"
	"os/exec"
)

// BuildVerify builds loper-verify as make does, into dir.
func BuildVerify(dir string) error {
	out, err := exec.Command("make", "-s", "-C", Source(), "verify", "BUILD_DIR="+dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make verify: %w\n%s", err, out)
	}
	return nil
}
