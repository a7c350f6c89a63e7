package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// registries makes a registries.conf that is the only one.
func registries(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	if err := os.MkdirAll(filepath.Join(dir, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "containers/registries.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestShortNames(t *testing.T) {
	empty, full := env.NewFaulty(t), env.NewFaulty(t)
	tar := env.Tar(env.File{Name: "a", Body: "x", UID: os.Getuid(), GID: os.Getgid()})
	full.Put(env.NewImage(env.RunConfig{}, env.Gzipped(tar)), "tool:latest")
	full.Put(env.NewImage(env.RunConfig{Cmd: []string{"x"}}, env.Gzipped(tar)), "team/aliased:1")
	list := `unqualified-search-registries = ["` + empty.Addr + `", "` + full.Addr + `"]` + "\n"
	aliases := "[aliases]\nnick = \"" + full.Addr + "/team/aliased\"\n"
	s := open(t)

	registries(t, "short-name-mode = \"enforcing\"\n"+list)
	_, err := s.Pull(t.Context(), "tool", PullOptions{})
	wantError(t, err, "could be "+empty.Addr+"/tool:latest or "+full.Addr+"/tool:latest", "enforcing")
	wantNothing(t, s)

	registries(t, list+aliases)
	img, err := s.Pull(t.Context(), "tool", PullOptions{})
	if err != nil || img.PulledAs != full.Addr+"/tool:latest" {
		t.Fatalf("%+v, %v", img, err)
	}
	img, err = s.Pull(t.Context(), "nick:1", PullOptions{})
	if err != nil || img.PulledAs != full.Addr+"/team/aliased:1" {
		t.Fatalf("%+v, %v", img, err)
	}
	_, err = s.Pull(t.Context(), "nothing", PullOptions{})
	wantError(t, err, empty.Addr+"/nothing:latest", full.Addr+"/nothing:latest")

	// What was pulled by a short name is found by it.
	for _, name := range []string{"tool", "tool:latest", "nick:1"} {
		if _, err := s.Find(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.Find("nick")
	wantError(t, err, "no such image: nick")
	if err := s.Tag("nick:1", "renamed"); err != nil {
		t.Error(err)
	}
	untagged, _, err := s.Remove("nick:1", false, nil)
	if err != nil || len(untagged) == 0 || untagged[0] != full.Addr+"/team/aliased:1" {
		t.Errorf("%v, %v", untagged, err)
	}
	if _, err := s.Find("renamed"); err != nil {
		t.Error(err)
	}
}

// What somebody chose for a short name is chosen from then on, for Podman too.
func TestChosenShortName(t *testing.T) {
	empty, full := env.NewFaulty(t), env.NewFaulty(t)
	full.Put(env.NewImage(env.RunConfig{}, env.Gzipped(env.Tar(env.File{Name: "a", UID: os.Getuid(), GID: os.Getgid()}))), "tool:latest")
	registries(t, `unqualified-search-registries = ["`+empty.Addr+`", "`+full.Addr+`"]`)
	if os.Geteuid() == 0 {
		t.Skip("needs an ordinary user: root's choices are kept in /var/cache")
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	s := open(t)
	asked := 0
	o := PullOptions{Choose: func(short string, names []string) (int, error) {
		asked++
		if short != "tool" || len(names) != 2 {
			t.Errorf("asked about %s: %q", short, names)
		}
		return 1, nil
	}}
	for range 2 {
		if img, err := s.Pull(t.Context(), "tool", o); err != nil || img.PulledAs != full.Addr+"/tool:latest" {
			t.Fatalf("%+v, %v", img, err)
		}
	}
	kept, err := os.ReadFile(filepath.Join(cache, "containers/short-name-aliases.conf"))
	if err != nil || asked != 1 || !strings.Contains(string(kept), "[aliases]\ntool = '"+full.Addr+"/tool'") {
		t.Errorf("asked %d times; %s, %v", asked, kept, err)
	}
}

// A mirror that lies about a layer costs a second try, and no more.
func TestPullWithALyingMirror(t *testing.T) {
	mirror, home := env.NewFaulty(t), env.NewFaulty(t)
	good := env.Gzipped(env.Tar(env.File{Name: "a", Body: "good", UID: os.Getuid(), GID: os.Getgid()}))
	img := env.NewImage(env.RunConfig{}, good)
	name := home.Put(img, "a:latest")
	mirror.Put(img, "a:latest")
	bad := append([]byte(nil), good.Data...)
	bad[len(bad)/2] ^= 0x55
	mirror.Lie(good.Digest(), bad)
	registries(t, "[[registry]]\nlocation = '"+home.Addr+"'\n[[registry.mirror]]\nlocation = '"+mirror.Addr+"'\n")
	s := open(t)
	got, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil || read(t, got, "a") != "good" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is here by Docker's reading of its name needs no configuration, which may
// be broken then; whoever asks a registry is told.
func TestLocalNamesNeedNoConfiguration(t *testing.T) {
	fake := env.NewFaulty(t)
	name := fake.Put(env.NewImage(env.RunConfig{}, env.Gzipped(env.Tar(env.File{Name: "a", UID: os.Getuid(), GID: os.Getgid()}))), "tool:latest")
	registries(t, "")
	s := open(t)
	if _, err := s.Pull(t.Context(), name, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(name, "local"); err != nil {
		t.Fatal(err)
	}
	registries(t, "= broken")
	for _, n := range []string{name, "local", "docker.io/library/local:latest"} {
		if _, err := s.Find(n); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	_, err := s.Find("nothing")
	wantError(t, err, "registries.conf, line 1")
	_, err = s.Pull(t.Context(), name, PullOptions{})
	wantError(t, err, "registries.conf, line 1")
}
