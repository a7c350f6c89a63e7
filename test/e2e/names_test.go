package e2e_test

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
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

// lookup is what a program against musl asks, as getent does for glibc.
const lookup = `
#include <netdb.h>
#include <stdio.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *r;
	char text[64];
	if (getaddrinfo(argv[1], 0, &hints, &r)) return 2;
	for (; r; r = r->ai_next) {
		if (r->ai_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)r->ai_addr)->sin_addr, text, 64);
		else inet_ntop(AF_INET6, &((struct sockaddr_in6 *)r->ai_addr)->sin6_addr, text, 64);
		puts(text);
	}
}
`

// The resolvers of glibc, musl and busybox get along with ours: names here and outside, of one address and of sixty,
// answers that come late, and names that nobody has.
func TestNamesForCLibraries(t *testing.T) {
	env.Need(t, "musl-gcc")
	e := asRoot(t).busybox()
	debian := pushed(t, "debian:latest", env.Debian)
	e.must("pull", "-q", debian)
	s := newNameserver(t, "127.0.0.77")
	dir := e.directory()
	e.writeFile(dir+"/lookup.c", lookup, 0o644)
	if out, err := exec.Command("musl-gcc", "-static", "-o", dir+"/lookup", dir+"/lookup.c").CombinedOutput(); err != nil {
		t.Skipf("musl-gcc: %v: %s", err, out)
	}
	e.must("network", "create", "--subnet", "10.211.9.0/24", "--subnet", "fd00:211:9::/64", "--ipv6", "names-c")
	e.must("run", "-d", "--name", "peer", "--network", "names-c", "--ip", "10.211.9.10", "--ip6", "fd00:211:9::10", "busybox", "sleep", "1000")
	for library, c := range map[string]struct{ run, ask []string }{
		"glibc": {[]string{debian}, []string{"getent", "ahosts"}},
		"musl":  {[]string{"-v", dir + ":/tools:ro", "busybox"}, []string{"/tools/lookup"}},
	} {
		args := append([]string{"run", "-d", "--name", library, "--network", "names-c", "--dns", s.address}, c.run...)
		e.must(append(args, "sleep", "1000")...)
		ask := func(name string) string {
			t.Helper()
			r := e.run(append(append([]string{"exec", library}, c.ask...), name)...)
			seen := map[string]bool{}
			var list []string
			for line := range strings.Lines(r.stdout) {
				if a := strings.Fields(line)[0]; !seen[a] {
					seen[a] = true
					list = append(list, a)
				}
			}
			if r.took > 4500*time.Millisecond { // a lost question is asked again after 5 s
				t.Errorf("%s: %s took %v", library, name, r.took)
			}
			slices.Sort(list)
			return strings.Join(list, " ")
		}
		// The monitor replaces itself while these wait for their answers.
		expect(t, library+": slow.test", ask("slow.test"), "192.0.2.1")
		expect(t, library+": peer", ask("peer"), "10.211.9.10 fd00:211:9::10")
		expect(t, library+": PEER.names-c", ask("PEER.names-c"), "10.211.9.10 fd00:211:9::10")
		expect(t, library+": www.test", ask("www.test"), "192.0.2.1")
		if n := len(strings.Fields(ask("big.test"))); n != 60 && (library == "glibc" || n == 0) {
			t.Errorf("%s: big.test has %d addresses", library, n)
		}
		expect(t, library+": missing.test", ask("missing.test"), "")
		s.asked()
		expect(t, library+": nobody", ask("nobody"), "")
		if list := s.asked(); len(list) > 0 {
			t.Errorf("%s: went outside: %q", library, list)
		}
	}
}

// A real server outside: its answers come through, and its silence is one, too.
func TestNamesFromDnsmasq(t *testing.T) {
	env.Need(t, "dnsmasq")
	e := asRoot(t).busybox()
	dir := e.directory()
	server := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
		"--listen-address=127.0.0.78", "--except-interface=", "--pid-file="+dir+"/pid", "--user=root", "--cache-size=0",
		"--address=/here.test/192.0.2.9", "--ptr-record=9.2.0.192.in-addr.arpa,here.test", "--txt-record=text.test,words")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	e.must("run", "-d", "--name", "client", "--network", "bridge", "--dns", "127.0.0.78", "busybox", "sleep", "1000")
	for range 50 { // until dnsmasq listens
		if e.lookUp("client", "here.test") != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	expect(t, "here.test", e.lookUp("client", "here.test"), "192.0.2.9")
	expect(t, "192.0.2.9", e.lookUp("client", "192.0.2.9"), "here.test")
	expect(t, "nowhere.test", e.lookUp("client", "nowhere.test"), "")
	if text := e.must("exec", "client", "nslookup", "-type=txt", "text.test"); !strings.Contains(text, `"words"`) {
		t.Error(text)
	}
}

// Nothing is lost and nothing is wrong while other containers come and go, and while networks are connected to the one
// that asks.
func TestNamesWhileOthersComeAndGo(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "--subnet", "10.211.10.0/24", "names-busy")
	e.must("network", "create", "--subnet", "10.211.11.0/24", "names-more")
	e.must("run", "-d", "--name", "target", "--network", "names-busy", "--ip", "10.211.10.10", "busybox", "sleep", "1000")
	const askers, questions = 4, 150
	script := `i=0; while [ $i -lt 150 ]; do i=$((i+1)); nslookup -type=a target 2>&1 | grep -q "^Address: 10.211.10.10" && echo good || echo bad; done; echo end; exec sleep 1000`
	for i := range askers {
		e.must("run", "-d", "--name", "asker"+strconv.Itoa(i), "--network", "names-busy", "busybox", "sh", "-c", script)
	}
	for round := 0; ; round++ {
		ended := 0
		for i := range askers {
			out := e.must("logs", "asker"+strconv.Itoa(i))
			if strings.HasSuffix(out, "end") {
				ended++
				if good := strings.Count(out, "good"); good != questions {
					t.Errorf("%d of %d look-ups were good", good, questions)
				}
			}
		}
		if ended == askers && round > 2 {
			return
		}
		if round > 400 {
			t.Fatal("they don't end")
		}
		e.must("run", "-d", "--name", "other", "--network", "names-busy", "--network-alias", "alias", "busybox", "sleep", "1000")
		e.must("network", "connect", "names-more", "asker0")
		e.must("network", "disconnect", "names-more", "asker0")
		e.must("rm", "-f", "other")
	}
}

// The world's names come from the host's side: from a server on its loopback interface, for an ordinary user's containers
// too, and also while the monitor replaces itself. An internal network's containers learn none.
func TestNamesFromOutside(t *testing.T) {
	env.NeedRoot(t)
	s := newNameserver(t, "127.0.0.79")
	t.Run("root", func(t *testing.T) { namesFromOutside(asRoot(t), s) })
	t.Run("user", func(t *testing.T) { namesFromOutside(asUser(t, true), s) })
}

func namesFromOutside(e *engine, s *nameserver) {
	t := e.t
	e.busybox()
	e.must("network", "create", "--internal", "names-internal")
	e.must("run", "-d", "--name", "client", "--network", "bridge", "--dns", s.address, "busybox", "sleep", "1000")
	begun := time.Now()
	expect(t, "slow.test", e.lookUp("client", "slow.test"), "192.0.2.1")
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("slow.test took %v: it was lost, and asked again", took)
	}
	expect(t, "www.test", e.lookUp("client", "www.test"), "192.0.2.1")
	expect(t, "missing.test", e.lookUp("client", "missing.test"), "")
	if n := len(strings.Fields(e.lookUp("client", "big.test"))); n < 20 {
		t.Errorf("big.test has %d addresses", n)
	}
	// A server in a container, to which an ordinary user's host has no way.
	e.must("network", "create", "--subnet", "10.211.12.0/24", "names-own")
	e.must("run", "-d", "--network", "names-own", "--ip", "10.211.12.53", "busybox", "/inside", "names")
	e.must("run", "-d", "--name", "other", "--network", "names-own", "--dns", "10.211.12.53", "busybox", "sleep", "1000")
	for range 3 {
		expect(t, "www.test from a container", e.lookUp("other", "www.test"), "192.0.2.99")
		time.Sleep(500 * time.Millisecond)
	}
	e.must("run", "-d", "--name", "inner", "--network", "names-internal", "--dns", s.address, "busybox", "sleep", "1000")
	s.asked()
	expect(t, "www.test on an internal network", e.lookUp("inner", "www.test"), "")
	e.must("network", "connect", "bridge", "inner")
	expect(t, "www.test on two networks", e.lookUp("inner", "www.test"), "192.0.2.1")
	if list := s.asked(); len(list) != 2 { // for both families
		t.Errorf("was asked for %q", list)
	}
}
