package registry

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"loper.run/test/env"
)

// home makes a home of its own for files with credentials.
func home(t *testing.T) string {
	t.Helper()
	dir := configure(t, "")
	for name, value := range map[string]string{
		"HOME": dir, "REGISTRY_AUTH_FILE": "", "DOCKER_CONFIG": "", "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "XDG_CONFIG_HOME": dir,
	} {
		t.Setenv(name, value)
	}
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) map[string]any {
	t.Helper()
	var all map[string]any
	body, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var alice = Credential{Username: "alice", Password: "s3:cret"}

// Where credentials are kept, and that they are found again.
func TestKeep(t *testing.T) {
	for name, test := range map[string]struct {
		before map[string]string // files below the home
		env    map[string]string
		server string
		where  string // below the home
		key    string
	}{
		"nothing there":      {server: "a.test:5000", where: "run/containers/auth.json", key: "a.test:5000"},
		"hub":                {server: "docker.io", where: "run/containers/auth.json", key: "docker.io"},
		"a namespace":        {server: "a.test/team", where: "run/containers/auth.json", key: "a.test/team"},
		"docker's directory": {env: map[string]string{"DOCKER_CONFIG": "d"}, server: "docker.io", where: "d/config.json", key: "https://index.docker.io/v1/"},
		"one file":           {env: map[string]string{"REGISTRY_AUTH_FILE": "f.json", "DOCKER_CONFIG": "d"}, server: "a.test", where: "f.json", key: "a.test"},
		"has an entry":       {before: map[string]string{".docker/config.json": `{"auths":{"https://a.test/v1/":{"auth":"Yjpj"},"b.test":{"auth":"Yjpj"}}}`}, server: "a.test", where: ".docker/config.json", key: "a.test"},
		"of another":         {before: map[string]string{".docker/config.json": `{"auths":{"b.test":{"auth":"Yjpj"}}}`}, server: "a.test", where: "run/containers/auth.json", key: "a.test"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := home(t)
			for file, text := range test.before {
				put(t, filepath.Join(dir, file), text)
			}
			for k, v := range test.env {
				t.Setenv(k, filepath.Join(dir, v))
			}
			where, plain, err := Keep(test.server, alice, "")
			if err != nil || !plain || where != filepath.Join(dir, test.where) {
				t.Fatalf("kept in %s, %t, %v", where, plain, err)
			}
			st, err := os.Stat(where)
			if err != nil || st.Mode() != 0o600 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			entries := load(t, where)["auths"].(map[string]any)
			if diff := cmp.Diff(map[string]any{"auth": "YWxpY2U6czM6Y3JldA=="}, entries[test.key]); diff != "" {
				t.Error(diff, entries)
			}
			domain, path, _ := strings.Cut(test.server, "/")
			if got, err := FileCredentials(domain, path); err != nil || got != alice {
				t.Errorf("found %+v, %v", got, err)
			}
			if found, err := Forget(test.server, ""); err != nil || !found {
				t.Errorf("forget: %t, %v", found, err)
			}
			if found, err := Forget(test.server, ""); err != nil || found {
				t.Errorf("forget again: %t, %v", found, err)
			}
			if got, err := FileCredentials(domain, path); err != nil || got != (Credential{}) {
				t.Errorf("left: %+v, %v", got, err)
			}
		})
	}
}

// What the file has besides stays, and so does a link to it.
func TestKeepLeavesTheRest(t *testing.T) {
	dir := home(t)
	real := filepath.Join(dir, "dotfiles/config.json")
	const before = `{"auths":{"b.test":{"auth":"Yjpj","email":"b@b.test"}},"proxies":{"default":{"httpProxy":"http://p:1/?a=1&b=<2>"}},"detachKeys":"ctrl-x","big":12345678901234567890}`
	put(t, real, before)
	if err := os.Mkdir(filepath.Join(dir, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../dotfiles/config.json", filepath.Join(dir, ".docker/config.json")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, ".docker/config.json")
	if _, _, err := Keep("a.test", alice, link); err != nil {
		t.Fatal(err)
	}
	if found, err := Forget("a.test", link); err != nil || !found {
		t.Fatal(found, err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link became %v, %v", st.Mode(), err)
	}
	var want, got map[string]json.RawMessage
	after, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(before), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	if string(got["big"]) != "12345678901234567890" || !strings.Contains(string(got["proxies"]), "a=1&b=<2>") {
		t.Errorf("changed: %s", after)
	}
	if diff := cmp.Diff(load(t, real)["auths"], map[string]any{"b.test": map[string]any{"auth": "Yjpj", "email": "b@b.test"}}); diff != "" || len(got) != len(want) {
		t.Error(diff, string(after))
	}
	left, err := os.ReadDir(filepath.Dir(real))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// helperScript is a credential helper that keeps what it is told in a file.
const helperScript = `#!/bin/sh
echo "$1" >>"$HOME/calls"
case $1 in
store) cat >"$HOME/secret" ;;
get) read server; grep -q "\"ServerURL\":\"$server\"" "$HOME/secret" 2>/dev/null && cat "$HOME/secret" || { echo credentials not found in native keychain; exit 1; } ;;
erase) [ -e "$HOME/secret" ] && rm "$HOME/secret" || { echo credentials not found in native keychain; exit 1; } ;;
esac
`

func TestKeepWithHelper(t *testing.T) {
	for name, config := range map[string]string{
		"for all": `{"credsStore":"mine"}`, "for one": `{"credHelpers":{"docker.io":"mine","https://a.test":"mine","a.test":"mine"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := home(t)
			put(t, filepath.Join(dir, "bin/docker-credential-mine"), helperScript)
			if err := os.Chmod(filepath.Join(dir, "bin/docker-credential-mine"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
			file := filepath.Join(dir, ".docker/config.json")
			put(t, file, config)
			for _, cred := range []Credential{alice, {IdentityToken: "tok"}} {
				where, plain, err := Keep("a.test", cred, "")
				if err != nil || plain || where != "docker-credential-mine ("+file+")" {
					t.Fatalf("kept in %s, %t, %v", where, plain, err)
				}
				text, err := os.ReadFile(file)
				if err != nil || strings.Contains(string(text), "c2VjcmV0") || !strings.Contains(string(text), `"a.test": {}`) {
					t.Errorf("%s, %v", text, err)
				}
				if got, err := FileCredentials("a.test", "x"); err != nil || got != cred {
					t.Errorf("found %+v, %v", got, err)
				}
			}
			if found, err := Forget("a.test", ""); err != nil || !found {
				t.Errorf("forget: %t, %v", found, err)
			}
			if got, err := FileCredentials("a.test", "x"); err != nil || got != (Credential{}) {
				t.Errorf("left: %+v, %v", got, err)
			}
		})
	}
}

func TestForgetAll(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, ".docker/config.json"), `{"auths":{"https://index.docker.io/v1/":{"auth":"Yjpj"},"b.test":{"auth":"Yjpj"}},"x":1}`)
	put(t, filepath.Join(dir, "run/containers/auth.json"), `{"auths":{"a.test/team":{"auth":"Yjpj"}}}`)
	if found, err := ForgetAll(""); err != nil || !found {
		t.Errorf("%t, %v", found, err)
	}
	for _, file := range []string{".docker/config.json", "run/containers/auth.json"} {
		if entries := load(t, filepath.Join(dir, file))["auths"].(map[string]any); len(entries) != 0 {
			t.Errorf("%s: left %v", file, entries)
		}
	}
}

// Podman and skopeo find what is kept here, and what they keep is found here.
func TestKeepBesidePeers(t *testing.T) {
	env.Need(t, "podman", "skopeo")
	dir := home(t)
	reg := env.NewRegistry(t, env.RegistryOptions{Basic: true})
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	if _, _, err := Keep(reg.Addr, Credential{Username: "tester", Password: "secret"}, ""); err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{"podman", "skopeo"} {
		if got := run(peer, "login", "--get-login", reg.Addr); got != "tester" {
			t.Errorf("%s reads %q", peer, got)
		}
	}
	if got := run("podman", "logout", reg.Addr); !strings.HasPrefix(got, "Removed login credentials") {
		t.Error(got)
	}
	if got := run("skopeo", "login", "--tls-verify=false", "-u", "tester", "-p", "secret", reg.Addr); got != "Login Succeeded!" {
		t.Error(got)
	}
	if got, err := FileCredentials(reg.Addr, "x"); err != nil || got.Password != "secret" {
		t.Errorf("found %+v, %v", got, err)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return
	}
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "docker"))
	if _, err := ForgetAll(""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Keep(reg.Addr, Credential{Username: "tester", Password: "secret"}, ""); err != nil {
		t.Fatal(err)
	}
	if got := run("docker", "logout", reg.Addr); !strings.HasPrefix(got, "Removing login credentials") {
		t.Error(got)
	}
	if got, err := FileCredentials(reg.Addr, "x"); err != nil || got != (Credential{}) {
		t.Errorf("docker left %+v, %v", got, err)
	}
}

func TestServer(t *testing.T) {
	for arg, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"https://a.test:5000/": "a.test:5000", "http://localhost:80/v2/": "localhost:80", "a.test/team": "a.test/team",
		"a b": "", "me@a.test": "", "https://": "",
	} {
		if got, err := Server(arg); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", arg, got, err)
		}
	}
}
