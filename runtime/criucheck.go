package runtime

import (
	"context"
	"os/exec"
	"time"
)

// checkTime bounds 'criu check', which takes some tens of milliseconds.
const checkTime = 20 * time.Second

// checkCRIU is what 'criu check' says that criu lacks on this machine, in a
// line, or "".
func checkCRIU(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	said, err := exec.CommandContext(ctx, path, "check").CombinedOutput()
	if err == nil {
		return ""
	}
	if reason := firstError(string(said)); reason != "" {
		return reason
	}
	return "criu check: " + err.Error()
}
