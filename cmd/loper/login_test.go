package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// person is somebody with a home who types commands.
type person struct {
	t    *testing.T
	home string
}

func newPerson(t *testing.T) *person { return &person{t, t.TempDir()} }

func (p *person) cmd(args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = "loper"
	cmd.Dir = p.home
	cmd.Env = []string{"HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + p.home + "/run", "LOPER_ROOT=" + p.home + "/root", "LOPER_RUNROOT=" + p.home + "/runroot"}
	return cmd
}

// does runs a command that must end with the code, and say the words.
func (p *person) does(code int, stdin string, args []string, words ...string) {
	p.t.Helper()
	cmd := p.cmd(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("loper %q: exit code %d, want %d: %s", args, got, code, &out)
	}
	for _, w := range words {
		if !strings.Contains(out.String(), w) {
			p.t.Errorf("loper %q says %q, without %q", args, &out, w)
		}
	}
}

func (p *person) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func TestLogin(t *testing.T) {
	ca := env.NewAuthority(t)
	for name, o := range map[string]env.RegistryOptions{"basic": {Basic: true}, "token": {Tokens: env.NewTokens(t, ca), Authority: ca}} {
		t.Run(name, func(t *testing.T) {
			reg := env.NewRegistry(t, o)
			p := newPerson(t)
			if o.Authority != nil {
				ca.CertsD(t, filepath.Join(p.home, ".config"), reg.Addr, false)
			}
			in := func(more ...string) []string { return append([]string{"login"}, append(more, reg.Addr)...) }
			p.does(1, "", in("--get-login"), "not logged into "+reg.Addr)
			p.does(1, "", in(), "cannot perform an interactive login from a non TTY device")
			p.does(1, "x", in("--password-stdin"), "requires --username")
			p.does(1, "x", in("--password-stdin", "-u", "tester", "-p", "y"), "mutually exclusive")
			p.does(1, "wrong\n", in("--password-stdin", "-u", "tester"), "user name or password is wrong")
			p.does(1, "", in("--get-login"), "not logged into "+reg.Addr)
			p.does(0, "secret\n", in("--password-stdin", "-u", "tester"), "Login Succeeded")
			p.does(0, "", in("--get-login"), "tester")
			p.does(0, "", in(), "Authenticating with existing credentials", "Login Succeeded")
			p.does(0, "", []string{"logout", "https://" + reg.Addr + "/v2/"}, "Removing login credentials for "+reg.Addr)
			p.does(0, "", []string{"logout", reg.Addr}, "Not logged in to "+reg.Addr)
			p.does(0, "", in("-u", "tester", "-p", "secret", "--authfile", "mine.json"), "Using --password via the CLI is insecure", "Login Succeeded")
			p.does(1, "", in("--get-login"), "not logged into")
			p.does(0, "", in("--get-login", "--authfile", "mine.json"), "tester")
			p.does(0, "", []string{"logout", "--all", "--authfile", "mine.json"}, "all registries")
			p.does(1, "", in("--get-login", "--authfile", "mine.json"), "not logged into")
		})
	}
}

func TestLoginOnATerminal(t *testing.T) {
	reg := env.NewRegistry(t, env.RegistryOptions{Basic: true})
	p := newPerson(t)
	term := env.StartTerminal(t, p.cmd("login", reg.Addr), 24, 80)
	term.Expect("Username: ")
	term.Type("tester\n")
	term.Expect("Password: ")
	term.Type("secret\n")
	if shown := term.Expect("Login Succeeded"); strings.Contains(shown, "secret") {
		t.Errorf("the password is shown: %q", shown)
	}
	if code := term.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestLoginOfAnUnknownAuthority(t *testing.T) {
	ca := env.NewAuthority(t)
	reg := env.NewRegistry(t, env.RegistryOptions{Basic: true, Authority: ca, Certificates: true})
	p := newPerson(t)
	user := []string{"login", "-u", "tester", "--password-stdin"}
	p.does(1, "secret", append(user, reg.Addr), "signed by an unknown authority", "certs.d/"+reg.Addr)
	p.does(1, "secret", append(user, "--tls-verify=false", reg.Addr), "registry "+reg.Addr) // why not, it may not live to say
	ca.CertsD(t, p.home, "mine", true)
	p.does(0, "secret", append(user, "--cert-dir", "containers/certs.d/mine", reg.Addr), "Login Succeeded")
}

func TestRegistryExplain(t *testing.T) {
	ca := env.NewAuthority(t)
	p := newPerson(t)
	conf := p.home + "/.config/containers/registries.conf"
	p.write(".config/containers/registries.conf", `unqualified-search-registries = ["a.test", "b.test"]
[[registry]]
prefix = "a.test/team"
location = "inner.test:5000/x"
  [[registry.mirror]]
  location = "mirror.test/y"
  insecure = true
[[registry]]
location = "bad.test"
blocked = true
[aliases]
nick = "bad.test/nick"
`)
	ca.CertsD(t, p.home+"/.config", "inner.test:5000", true)
	p.write(".docker/config.json", `{"auths":{"inner.test:5000/x":{"auth":"YWxpY2U6c2VjcmV0"}},"credHelpers":{"mirror.test":"keyring"}}`)
	fields := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for name, want := range map[string]string{
		"a.test/team/app:1": fmt.Sprintf(`registries.conf: %[1]s
			a.test/team/app:1 (the name has a registry)
			by %[1]s, line 2: prefix a.test/team
			# ROLE REQUEST TLS PLAIN HTTP CERTS.D CREDENTIALS PROXY
			1 mirror GET https://mirror.test/v2/y/app/manifests/1 not verified (insecure = true) if it speaks no TLS (insecure = true) - docker-credential-keyring (%[2]s/.docker/config.json) http://proxy.test:3128 (HTTPS_PROXY)
			2 registry GET https://inner.test:5000/v2/x/app/manifests/1 verified never %[2]s/.config/containers/certs.d/inner.test:5000 (1 for us) %[2]s/.docker/config.json (inner.test:5000/x) -`, conf, p.home),
		"nick": fmt.Sprintf(`registries.conf: %[1]s
			bad.test/nick:latest (alias in %[1]s) by %[1]s, line 8: prefix bad.test
			blocked: no request is made`, conf),
		"other": fmt.Sprintf(`registries.conf: %[1]s
			short name of 2 registries (short-name-mode is permissive)
			a.test/other:latest (unqualified-search-registries in %[1]s)
			# ROLE REQUEST TLS PLAIN HTTP CERTS.D CREDENTIALS PROXY
			1 registry GET https://a.test/v2/other/manifests/latest verified never - - http://proxy.test:3128 (HTTPS_PROXY)
			b.test/other:latest (unqualified-search-registries in %[1]s)
			# ROLE REQUEST TLS PLAIN HTTP CERTS.D CREDENTIALS PROXY
			1 registry GET https://b.test/v2/other/manifests/latest verified never - - http://proxy.test:3128 (HTTPS_PROXY)`, conf),
	} {
		cmd := p.cmd("registry", "explain", name)
		cmd.Env = append(cmd.Env, "HTTPS_PROXY=http://proxy.test:3128", "NO_PROXY=inner.test")
		out, err := cmd.CombinedOutput()
		if err != nil || fields(string(out)) != fields(want) || strings.Contains(string(out), "secret") {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, fields(string(out)), fields(want))
		}
	}
	p.does(0, "", []string{"registry", "explain", "--format", "{{range .Candidates}}{{range .Endpoints}}{{.Role}} {{end}}{{end}}", "a.test/team/app"}, "mirror registry")
	p.does(0, "", []string{"registry", "explain", "--format", "json", "nick"}, `"Blocked": true`)
	p.does(1, "", []string{"registry", "explain", "Not:A:Name"}, "invalid image name")
}

func TestSearch(t *testing.T) {
	reg := env.NewRegistry(t, env.RegistryOptions{})
	img := env.NewImage(env.RunConfig{}, env.Gzipped(env.Tar(env.File{Name: "a"})))
	for _, name := range []string{"team/tool:1", "team/tool:2", "team/other:1"} {
		if _, err := reg.Push(img, name); err != nil {
			t.Fatal(err)
		}
	}
	p := newPerson(t)
	p.does(0, "", []string{"search", reg.Addr + "/tool"}, "NAME ", "DESCRIPTION   STARS     OFFICIAL\n", reg.Addr+"/team/tool ")
	p.does(0, "", []string{"search", "--format", "{{.Name}} {{.StarCount}}", "--limit", "1", reg.Addr + "/"}, reg.Addr+"/team/other 0\n")
	p.does(0, "", []string{"search", "--list-tags", reg.Addr + "/team/tool"}, "NAME ", "TAG\n", "1\n", "2\n")
	p.does(1, "", []string{"search", "--list-tags", reg.Addr + "/team/none"}, "search "+reg.Addr+"/team/none", "not found")
	p.does(1, "", []string{"search", "--limit", "0", reg.Addr + "/x"}, "from 1 to 10000")
	p.does(1, "", []string{"search", "--filter", "colour=red", reg.Addr + "/x"}, "invalid filter 'colour'")
}
