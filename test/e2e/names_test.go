package e2e_test

import (
	"strings"
	"testing"
	"time"
)

// lookUp asks for a name in a container as its C library does.
func (e *engine) lookUp(container, name string) string {
	e.t.Helper()
	r := e.run("exec", container, "nslookup", name)
	var found []string
	_, answer, _ := strings.Cut(r.stdout, "\n\n")
	for line := range strings.Lines(answer) {
		if a, ok := strings.CutPrefix(strings.TrimSpace(line), "Address: "); ok {
			found = append(found, a)
		}
		if _, a, ok := strings.Cut(line, "name = "); ok {
			found = append(found, strings.TrimSpace(a))
		}
	}
	return strings.Join(found, " ")
}

// Containers find each other by their names, short ids and aliases, in the networks that they share.
func TestNames(t *testing.T) {
	t.Run("root", func(t *testing.T) { namesOf(asRoot(t)) })
	t.Run("user", func(t *testing.T) { namesOf(asUser(t, true)) })
}

func namesOf(e *engine) {
	t := e.t
	e.busybox()
	e.must("network", "create", "--subnet", "10.211.7.0/24", "names-one")
	e.must("network", "create", "--internal", "--subnet", "10.211.8.0/24", "names-two")
	web := e.must("run", "-d", "--name", "Web", "--network", "names-one", "--network-alias", "www", "--ip", "10.211.7.10", "busybox", "sleep", "1000")
	e.must("run", "-d", "--name", "client", "--network", "names-one", "--add-host", "printer:192.0.2.7", "busybox", "sleep", "1000")
	e.must("run", "-d", "--name", "alone", "--network", "names-two", "busybox", "sleep", "1000")
	for try := range 2 { // the second time the monitor has replaced itself
		for name, want := range map[string]string{
			"Web": "10.211.7.10", "web.names-one": "10.211.7.10", web[:12]: "10.211.7.10", "www": "10.211.7.10", "10.211.7.10": "Web.names-one",
			"host.containers.internal": "10.211.7.1", "host.docker.internal": "10.211.7.1", "printer": "192.0.2.7", "alone": "", "nobody": "",
		} {
			if got := e.lookUp("client", name); !strings.Contains(" "+got+" ", " "+want+" ") && (want != "" || got != "") {
				t.Errorf("round %d: %s is %q, want %q", try, name, got, want)
			}
		}
		if got := e.lookUp("alone", "web"); got != "" {
			t.Errorf("a network sees into another: web is %q", got)
		}
		time.Sleep(1200 * time.Millisecond)
	}
	// A change is seen by the next question.
	e.must("network", "connect", "--ip", "10.211.8.20", "names-two", "Web")
	expect(t, "web after connect", e.lookUp("alone", "web"), "10.211.8.20")
	e.must("network", "disconnect", "names-two", "Web")
	expect(t, "web after disconnect", e.lookUp("alone", "web"), "")
	e.must("rm", "-f", "Web")
	expect(t, "web after its end", e.lookUp("client", "web"), "")
	// Port 53 is the container's own.
	expect(t, "own server", e.must("exec", "client", "sh", "-c", "nc -l -p 53 & sleep 0.2; kill $! && echo listened"), "listened")
}
