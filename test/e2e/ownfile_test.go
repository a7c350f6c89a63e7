package e2e_test

import (
	"strings"
	"testing"
)

// A container's process that executes /proc/self/exe executes the engine's own file, as that is what it was until its
// execve. Another process of the container keeps the file and tries to write it when nobody runs it any more
// (CVE-2019-5736).
func TestOwnFileIsNotWritable(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		modes := [][]string{nil}
		if e.user == nil {
			modes = append(modes, []string{"--userns", "host"}, []string{"--userns", "host", "--privileged"})
		}
		for _, flags := range modes {
			args := append(append([]string{"-v", e.linkToSelf() + ":/bin/self:ro"}, flags...), "busybox", "/inside", "steal")
			id := e.start(args...)
			eventually(t, "the attacker has made its attempt", func() bool {
				e.run("exec", id, "/bin/self", "version")
				return e.inspect(id, "{{.State.Status}}") == "exited"
			})
			if said := e.must("logs", id); !strings.HasPrefix(said, "refused: ") {
				t.Errorf("%v: the attacker %s", flags, said)
			}
			e.must("rm", id)
		}
	})
}
