package e2e_test

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/test/env"
)

// bigImage has four layers of random bytes, which no codec makes smaller, so that a cut falls where the test says.
func bigImage(megabytes int) *env.Image {
	var layers []env.Blob
	for i := range 4 {
		body := make([]byte, megabytes<<20/4)
		rand.Read(body)
		layers = append(layers, env.Gzipped(env.Tar(env.File{Name: "data/"}, env.File{Name: fmt.Sprintf("data/%d", i), Body: string(body)})))
	}
	return env.NewImage(env.RunConfig{Cmd: []string{"/none"}}, layers...)
}

func (e *engine) noImages() {
	e.t.Helper()
	expect(e.t, "images after a failed pull", e.must("images", "-aq"), "")
}

func TestPullKindsOfImages(t *testing.T) {
	base, err := env.BusyboxFiles()
	if err != nil {
		t.Skip(err)
	}
	tarball := env.Tar(base...)
	second := env.Tar(env.File{Name: "etc/.wh.group"}, env.File{Name: "added", Body: "by the second layer"}, env.File{Name: "home/.wh..wh..opq"}, env.File{Name: "home/new/"})
	docker := env.Gzipped(tarball)
	docker.MediaType = env.DockerLayer
	config := env.RunConfig{Env: []string{"PATH=/bin", "COLOUR=blue"}, Cmd: []string{"sh", "-c", "echo $COLOUR; pwd; id -u"}, WorkingDir: "/var/work", User: "worker"}
	images := map[string]*env.Image{
		"gzip": env.NewImage(config, env.Gzipped(tarball)), "plain": env.NewImage(config, env.Plain(tarball)),
		"schema2": env.NewImage(config, docker), "layers": env.NewImage(config, env.Gzipped(tarball), env.Gzipped(second)),
	}
	f := env.NewFaulty(t)
	if zstd, err := zstandard(tarball); err == nil {
		images["zstd"] = env.NewImage(config, env.Blob{MediaType: env.OCILayer + "+zstd", Data: zstd, DiffID: env.Digest(tarball)})
	}
	everyone(t, func(t *testing.T, e *engine) {
		for name, img := range images {
			reference := f.Put(img, name+":1")
			if e.user != nil && !e.user.Ranges {
				expect(t, name, e.must("run", "--rm", "-u", "0", reference), "blue\n/var/work\n0")
			} else {
				expect(t, name, e.must("run", "--rm", reference), "blue\n/var/work\n1000")
			}
			byDigest := f.Addr + "/" + name + "@" + img.Manifest.Digest()
			expect(t, name+" by digest", e.must("run", "--rm", "-u", "0", "-w", "/", byDigest, "pwd"), "/")
		}
		out := e.must("run", "--rm", "-u", "0", f.Addr+"/layers:1", "sh", "-c", "cat /added; [ -e /etc/group ] || echo; ls /home")
		expect(t, "whiteouts", out, "by the second layer\nnew")
	})
}

func zstandard(data []byte) ([]byte, error) {
	cmd := exec.Command("zstd", "-q", "-c")
	cmd.Stdin = bytes.NewReader(data)
	return cmd.Output()
}

func TestPullByPlatform(t *testing.T) {
	base, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	r, err := registry()
	if err != nil {
		t.Skip(err)
	}
	arm := env.NewImageFor("linux", "arm64", env.RunConfig{Labels: map[string]string{"which": "arm"}}, base.Layers...)
	here := env.NewImage(env.RunConfig{Cmd: []string{"echo", "mine"}, Env: []string{"PATH=/bin"}}, base.Layers...)
	reference, err := r.PushIndex("multi:1", env.Platform{OS: "linux", Arch: "arm64", Variant: "v8", Image: arm}, env.Platform{OS: "linux", Arch: "amd64", Image: here})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, nil)
	expect(t, "this machine's", e.must("run", "--rm", reference), "mine")
	e.must("pull", "-q", "--platform", "linux/arm64", reference)
	expect(t, "the asked one", e.must("image", "inspect", "--platform", "linux/arm64", "--format", "{{.Architecture}}", reference), "arm64")
	expect(t, "this machine's, beside it", e.inspectImage(reference, "{{.Architecture}}"), "amd64")
	e.mustFail(1, []string{"linux/s390x"}, "pull", "--platform", "linux/s390x", reference)
	e.mustFail(1, []string{"platform"}, "pull", "--platform", "a/b/c/d", reference)
}

func (e *engine) inspectImage(name, template string) string {
	e.t.Helper()
	return e.must("inspect", "--type", "image", "--format", template, name)
}

func TestPullUnknown(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		reference := pushed(t, "busybox:latest", busyboxWithInside)
		repo := strings.TrimSuffix(reference, "latest")
		e.mustFail(1, []string{"nosuchtag", "no such image"}, "pull", repo+"nosuchtag")
		e.mustFail(125, []string{"nosuchtag", "no such image"}, "run", "--rm", repo+"nosuchtag")
		e.mustFail(1, []string{"no/image"}, "pull", strings.Replace(repo, "/busybox:", "/no/image:", 1)+"1")
		e.mustFail(1, []string{"127.0.0.1:1", "refused"}, "pull", "127.0.0.1:1/busybox")
		e.mustFail(1, []string{"Bad Name"}, "pull", "Bad Name")
		e.mustFail(1, []string{"../etc"}, "pull", "../etc/passwd")
		e.mustFail(125, []string{"missing-image"}, "run", "--pull", "never", "missing-image")
		e.noImages()
		expect(t, "containers", e.must("ps", "-aq"), "")
	})
}

func TestPullPolicy(t *testing.T) {
	e := newEngine(t, nil)
	f := env.NewFaulty(t)
	base, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	version := func(v string) {
		f.Put(env.NewImage(env.RunConfig{Cmd: []string{"echo", v}, Env: []string{"PATH=/bin"}}, base.Layers...), "app:1")
	}
	version("one")
	reference := f.Addr + "/app:1"
	expect(t, "first run", e.must("run", "--rm", reference), "one")
	version("two")
	expect(t, "missing", e.must("run", "--rm", "--pull", "missing", reference), "one")
	expect(t, "never", e.must("run", "--rm", "--pull", "never", reference), "one")
	expect(t, "always", e.must("run", "--rm", "--pull", "always", reference), "two")
}

// A registry that breaks off in the middle of a layer: nothing half is visible, and the next pull goes on where it stopped.
func TestPullCutMidLayer(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		img := bigImage(16)
		f := env.NewFaulty(t)
		reference := f.Put(img, "big:1")
		cut := img.Layers[2]
		f.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, cut.Digest()) {
				return false
			}
			env.SendRange(w, r, cut.Data, len(cut.Data)*3/4)
			return true
		}
		e.mustFail(1, []string{reference}, "pull", reference)
		e.noImages()
		e.mustFail(125, []string{reference}, "run", "--pull", "never", reference)

		f.Before = nil
		before := len(f.Requests("GET", cut.Digest()))
		e.must("pull", reference)
		requests := f.Requests("GET", cut.Digest())[before:]
		if len(requests) != 1 || !strings.HasPrefix(requests[0].Header.Get("Range"), "bytes=") || requests[0].Header.Get("Range") == "bytes=0-" {
			t.Errorf("the second pull did not resume the layer: %d requests", len(requests))
			for _, r := range requests {
				t.Logf("Range: %q", r.Header.Get("Range"))
			}
		}
		for i, l := range img.Layers {
			if i != 2 && len(f.Requests("GET", l.Digest())) != 1 {
				t.Errorf("layer %d was complete, but was fetched %d times", i, len(f.Requests("GET", l.Digest())))
			}
		}
		expect(t, "images", e.must("images", "--format", "{{.Tag}}"), "1")
	})
}

func TestPullServerErrors(t *testing.T) {
	e := newEngine(t, nil)
	img := bigImage(1)
	f := env.NewFaulty(t)
	reference := f.Put(img, "big:1")
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		words  []string
	}{
		"500": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, []string{"500"}},
		"403": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			w.Write([]byte(`{"errors":[{"code":"DENIED","message":"go away"}]}`))
		}, []string{"go away"}},
		"html": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("<html>welcome to the hotel's network</html>"))
		}, nil},
		"empty": {func(w http.ResponseWriter, r *http.Request) {}, nil},
		"redirects around": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, nil},
		"terminal codes": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			w.Write([]byte("{\"errors\":[{\"code\":\"X\",\"message\":\"\x1b[2Jclear\\u001b[31m\"}]}"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e.t = t
			f.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" {
					return false
				}
				test.answer(w, r)
				return true
			}
			r := e.mustFail(1, append(test.words, reference), "pull", reference)
			if strings.Contains(r.stderr, "\x1b[") {
				t.Errorf("a registry's words reach the terminal as they are: %q", r.stderr)
			}
			e.noImages()
		})
	}
}

// What a registry sends is not what was asked for.
func TestPullWrongContent(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		other := env.Gzipped(env.Tar(env.File{Name: "evil", Body: "not what was asked for"}))
		change := map[string]struct {
			words []string
			lie   func(f *env.Faulty, img *env.Image)
			name  string
		}{
			"layer": {[]string{"digest"}, func(f *env.Faulty, img *env.Image) {
				same := append([]byte{}, img.Layers[1].Data...)
				same[len(same)/2] ^= 1
				f.Lie(img.Layers[1].Digest(), same)
			}, ":1"},
			"shorter layer": {nil, func(f *env.Faulty, img *env.Image) { f.Lie(img.Layers[1].Digest(), other.Data) }, ":1"},
			"longer layer": {nil, func(f *env.Faulty, img *env.Image) {
				f.Lie(img.Layers[1].Digest(), append(append([]byte{}, img.Layers[1].Data...), "more"...))
			}, ":1"},
			"config": {nil, func(f *env.Faulty, img *env.Image) {
				f.Lie(img.Config.Digest(), bytes.Replace(img.Config.Data, []byte("/none"), []byte("/evil"), 1))
			}, ":1"},
			"manifest by digest": {[]string{"digest"}, func(f *env.Faulty, img *env.Image) {
				f.PutManifest("app@"+img.Manifest.Digest(), bigImage(1).Manifest)
			}, "@"},
			"truncated gzip": {nil, func(f *env.Faulty, img *env.Image) {
				img.Layers[1].Data = img.Layers[1].Data[:len(img.Layers[1].Data)-100]
				img.Remanifest(env.OCIManifest)
				f.Put(img, "app:1")
			}, ":1"},
			"bytes after the gzip": {nil, func(f *env.Faulty, img *env.Image) {
				img.Layers[1].Data = append(append([]byte{}, img.Layers[1].Data...), "trailing"...)
				img.Remanifest(env.OCIManifest)
				f.Put(img, "app:1")
			}, ":1"},
			"diff id": {[]string{"digest"}, func(f *env.Faulty, img *env.Image) {
				layers := append([]env.Blob{}, img.Layers...)
				layers[1].DiffID = env.Digest([]byte("something else"))
				f.Put(env.NewImage(env.RunConfig{}, layers...), "app:1")
			}, ":1"},
			"fewer diff ids": {nil, func(f *env.Faulty, img *env.Image) {
				short := env.NewImage(env.RunConfig{}, img.Layers[:2]...)
				short.Layers = img.Layers
				short.Remanifest(env.OCIManifest)
				f.Put(short, "app:1")
			}, ":1"},
			"digest that is a path": {nil, func(f *env.Faulty, img *env.Image) {
				m := bytes.Replace(img.Manifest.Data, []byte(img.Config.Digest()), []byte("sha256:../../../../../../etc/passwd"), 1)
				f.PutManifest("app:1", env.Blob{MediaType: env.OCIManifest, Data: m})
			}, ":1"},
		}
		for name, c := range change {
			t.Run(name, func(t *testing.T) {
				e.t = t
				img := bigImage(1)
				f := env.NewFaulty(t)
				reference := f.Put(img, "app:1")
				if c.name == "@" {
					reference = f.Addr + "/app@" + img.Manifest.Digest()
				}
				c.lie(f, img)
				e.mustFail(1, c.words, "pull", reference)
				e.noImages()
			})
		}
	})
}

// Tar entries that aim outside of the layer's directory never hit, whether they are refused or kept inside.
func TestPullEvilLayers(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		outside := e.directory()
		e.writeFile(filepath.Join(outside, "victim"), "untouched", 0o644)
		up := strings.Repeat("../", 20) + strings.TrimPrefix(outside, "/")
		link := func(name, to string) env.File { return env.File{Name: name, Link: to, Type: tar.TypeSymlink} }
		hard := func(name, to string) env.File { return env.File{Name: name, Link: to, Type: tar.TypeLink} }
		for name, files := range map[string][]env.File{
			"dots":                      {{Name: up + "/new", Body: "x"}},
			"dots inside":               {{Name: "a/"}, {Name: "a/../../" + up + "/new", Body: "x"}},
			"absolute":                  {{Name: outside + "/new", Body: "x"}},
			"overwrite absolute":        {{Name: outside + "/victim", Body: "x"}},
			"through a link":            {link("d", outside), {Name: "d/new", Body: "x"}},
			"through a relative link":   {link("d", up), {Name: "d/new", Body: "x"}},
			"through two links":         {link("a", "/"), link("d", "a"+outside), {Name: "d/new", Body: "x"}},
			"over a link":               {link("f", outside+"/victim"), {Name: "f", Body: "x"}},
			"hard link":                 {hard("h", outside+"/victim"), {Name: "h", Body: "x"}},
			"hard link by dots":         {hard("h", up+"/victim"), {Name: "h", Body: "x"}},
			"hard link through a link":  {link("d", outside), hard("h", "d/victim"), {Name: "h", Body: "x"}},
			"whiteout of dots":          {{Name: up + "/.wh.victim"}},
			"whiteout of dot dot":       {{Name: "a/"}, {Name: "a/.wh..."}, {Name: "a/.wh.."}, {Name: ".wh."}},
			"whiteout through a link":   {link("d", outside), {Name: "d/.wh.victim"}},
			"opaque through a link":     {link("d", outside), {Name: "d/.wh..wh..opq"}},
			"root as a link":            {link(".", outside), {Name: "new", Body: "x"}},
			"root as a file":            {{Name: "/", Body: ""}, {Name: ".", Body: "x", Type: tar.TypeReg}},
			"mode through a link":       {link("d", outside), {Name: "d/", Mode: 0o777}, {Name: "d/new", Body: "x"}},
			"replaced directory":        {{Name: "d/"}, {Name: "d/sub/"}, link("d", outside), {Name: "d/sub/new", Body: "x"}},
			"name of 300 bytes":         {{Name: strings.Repeat("n", 300), Body: "x"}},
			"name with a newline":       {{Name: "a\nb", Body: "x"}},
			"5000 directories deep":     {{Name: strings.Repeat("d/", 5000), Type: tar.TypeDir}},
			"unknown kind of entry":     {{Name: "strange", Type: 'Z'}},
			"hard link to nothing":      {hard("h", "nothing")},
			"hard link to a directory":  {{Name: "d/"}, hard("h", "d")},
			"hard link to itself":       {hard("h", "h")},
			"directory over a file":     {{Name: "f", Body: "x"}, {Name: "f/"}, {Name: "f/g", Body: "y"}},
			"file over a directory":     {{Name: "f/"}, {Name: "f/g", Body: "y"}, {Name: "f", Body: "x", Type: tar.TypeReg}},
			"through proc's own links":  {link("p", "/proc/self/root"), {Name: "p" + outside + "/new", Body: "x"}},
			"through proc's descriptor": {link("p", "/proc/self/cwd"), {Name: "p/new", Body: "x"}},
		} {
			t.Run(name, func(t *testing.T) {
				e.t = t
				f := env.NewFaulty(t)
				reference := f.Put(env.NewImage(env.RunConfig{}, env.Gzipped(env.Tar(files...))), "evil:1")
				r := e.run("pull", reference)
				if r.code != 0 {
					checkFailure(t, r, 1, nil)
					e.noImages()
				} else {
					e.must("rmi", "-f", reference)
				}
				entries, err := os.ReadDir(outside)
				if err != nil || len(entries) != 1 {
					t.Fatalf("written outside: %v %v", entries, err)
				}
				info, err := os.Stat(outside)
				if err != nil || info.Mode().Perm() != 0o755 {
					t.Errorf("mode changed outside: %v", info.Mode())
				}
				data, _ := os.ReadFile(filepath.Join(outside, "victim"))
				expect(t, "a file outside", string(data), "untouched")
			})
		}
	})
}

// Devices and setuid programs from an image give an ordinary user nothing.
func TestPullDevicesAndSetuid(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		base, err := env.BusyboxFiles()
		if err != nil {
			t.Skip(err)
		}
		f := env.NewFaulty(t)
		files := append(base, env.File{Name: "dev/disk", Type: tar.TypeBlock, Major: 1, Minor: 0, Mode: 0o666}, env.File{Name: "dev/memory", Type: tar.TypeChar, Major: 1, Minor: 1, Mode: 0o666},
			env.File{Name: "pipe", Type: tar.TypeFifo, Mode: 0o600})
		reference := f.Put(env.NewImage(env.RunConfig{Env: []string{"PATH=/bin"}}, env.Gzipped(env.Tar(files...))), "devices:1")
		r := e.run("pull", "-q", reference)
		if r.code != 0 {
			checkFailure(t, r, 1, []string{"dev"})
			e.noImages()
			return
		}
		out := e.run("run", "--rm", reference, "sh", "-c", "head -c1 /dev/disk >/dev/null && echo read the disk; head -c1 /dev/memory >/dev/null && echo read memory; true")
		if strings.Contains(out.stdout, "read") {
			t.Errorf("a device of the image works: %v", out)
		}

		e.busybox()
		out = e.run("run", "--rm", "-u", "1000", "busybox", "/setuid")
		if e.user == nil || e.user.Ranges {
			expect(t, "a setuid program has no effect", out.stdout, "uid 1000 euid 1000\n")
		}
	})
}

func TestPullTooBig(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		img := bigImage(1)
		f := env.NewFaulty(t)
		huge := append(bytes.Repeat([]byte(" "), 100<<20), img.Manifest.Data...)
		reference := f.PutManifest("huge:1", env.Blob{MediaType: env.OCIManifest, Data: huge})
		r, memory := e.measured("pull", reference)
		checkFailure(t, r, 1, []string{reference})
		if memory > 64<<20 {
			t.Errorf("a manifest of 100 MB took %d MB of memory", memory>>20)
		}
		e.noImages()

		config := append([]byte{}, img.Config.Data...)
		img.Config.Data = append(bytes.Repeat([]byte(" "), 100<<20), config...)
		img.Remanifest(env.OCIManifest)
		reference = f.Put(img, "huge:2")
		r, memory = e.measured("pull", reference)
		checkFailure(t, r, 1, []string{reference})
		if memory > 64<<20 {
			t.Errorf("a config of 100 MB took %d MB of memory", memory>>20)
		}
		e.noImages()
	})
}

// A layer of 2 MB that would be 2 TB on disk. The zeros are one gzip member, told again and again.
func TestPullZipBomb(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		const member, times = 64 << 20, 32768
		zeros := env.Gzip(make([]byte, member))
		var header bytes.Buffer
		w := tar.NewWriter(&header)
		if err := w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: member * times, Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		data := env.Gzip(header.Bytes())
		for range 32 { // 2 GB are enough to see whether somebody stops it
			data = append(data, zeros...)
		}
		f := env.NewFaulty(t)
		bomb := env.Blob{MediaType: env.OCILayer + "+gzip", Data: data, DiffID: env.Digest([]byte("unknown"))}
		reference := f.Put(env.NewImage(env.RunConfig{}, bomb), "bomb:1")
		r := e.mustFail(1, nil, "pull", reference)
		t.Logf("refused after %v: %s", r.took, lineWith(r.stderr, "bomb"))
		e.noImages()
		if size := blocks(t, e.root); size > 1<<30 {
			t.Errorf("a zip bomb of %d bytes left %d bytes on the disk", len(data), size)
		}
	})
}

func TestPullAuthentication(t *testing.T) {
	env.Need(t, "docker-registry")
	everyone(t, func(t *testing.T, e *engine) {
		dir := t.TempDir()
		r, err := env.StartRegistry(dir, true)
		if err != nil {
			t.Skip(err)
		}
		defer r.Stop()
		img, err := env.Busybox()
		if err != nil {
			t.Skip(err)
		}
		reference, err := r.Push(img, "private/busybox:1")
		if err != nil {
			t.Fatal(err)
		}
		e.mustFail(1, []string{reference}, "pull", reference)
		auth := func(password string) string {
			return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.Addr, base64.StdEncoding.EncodeToString([]byte("tester:"+password)))
		}
		os.Mkdir(filepath.Join(e.home, ".docker"), 0o755)
		config := filepath.Join(e.home, ".docker/config.json")
		e.writeFile(config, auth("a-guess"), 0o644)
		refused := e.mustFail(1, []string{reference}, "pull", reference)
		if strings.Contains(refused.stderr, "a-guess") {
			t.Errorf("the password is in the error: %v", refused)
		}
		e.writeFile(config, auth("secret"), 0o644)
		e.must("pull", reference)
		e.must("rmi", reference)
		os.Remove(config)
		xdg := filepath.Join(filepath.Dir(e.home), "xdg/containers")
		os.Mkdir(xdg, 0o755)
		e.writeFile(filepath.Join(xdg, "auth.json"), auth("secret"), 0o644)
		e.must("pull", reference)
	})
}

func TestPullTLS(t *testing.T) {
	e := newEngine(t, nil)
	img, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	f := env.NewFaultyTLS(t)
	reference := f.Put(img, "busybox:1")
	e.mustFail(1, []string{"certificate"}, "pull", reference)
	e.noImages()
	certificate := filepath.Join(e.home, "ca.pem")
	e.writeFile(certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Server.Certificate().Raw})), 0o644)
	e.environ = append(e.environ, "SSL_CERT_FILE="+certificate)
	expect(t, "over HTTPS", e.must("run", "--rm", reference, "echo", "safe"), "safe")
	if len(f.Requests("GET", "/manifests/")) == 0 {
		t.Error("the registry was never asked")
	}
}

// Two processes that pull the same image share the work, or wait, and both have it.
func TestPullTogether(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		img := bigImage(24)
		f := env.NewFaulty(t)
		reference := f.Put(img, "big:1")
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				if r := e.run("pull", reference); r.code != 0 {
					t.Error(r)
				}
			})
		}
		wait.Wait()
		for i, l := range img.Layers {
			if n := len(f.Requests("GET", l.Digest())); n != 1 {
				t.Errorf("layer %d was fetched %d times by four pulls at once", i, n)
			}
		}
		expect(t, "images", e.must("images", "--format", "{{.Tag}}"), "1")
	})
}

func TestTagAndRemoveImages(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.must("tag", "busybox", "example.com/team/app:v1")
		list := e.must("images", "--format", "{{.Repository}}:{{.Tag}}")
		if !strings.Contains(list, "example.com/team/app:v1") || !strings.Contains(list, "busybox:latest") {
			t.Errorf("images: %s", list)
		}
		e.must("rmi", "example.com/team/app:v1")
		e.must("run", "--rm", "busybox", "true")
		e.start("--name", "user", "busybox", "sleep", "100")
		id := strings.Fields(e.must("images", "-q"))[0]
		e.mustFail(1, []string{"used by"}, "rmi", "-f", id)
		e.must("rm", "-f", "user")
		e.must("rmi", "busybox")
		for _, id := range strings.Fields(e.must("images", "-aq")) {
			e.must("rmi", "-f", id)
		}
		e.noImages()
		e.mustFail(1, []string{"busybox"}, "rmi", "busybox")
		if size := blocks(t, filepath.Join(e.root, "image")); size > 200<<10 {
			t.Errorf("%d bytes stay after the last image is removed", size)
		}
	})
}
