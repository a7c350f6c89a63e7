package image

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"loper.run/image/oci"
)

var epoch = time.Unix(1_000_000_000, 0)

// The same files make the same layer, and with the same words the same image.
func TestMakeIsReproducible(t *testing.T) {
	var first oci.Digest
	for range 2 {
		s := open(t)
		r := Recipe{Created: epoch, Name: "localhost/made", Config: oci.ImageConfig{Cmd: []string{"sh"}}}
		id, err := s.Make(t.Context(), r, func(w io.Writer) error {
			_, err := w.Write(ownTar(t, "d/f", "content"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		img, err := s.Resolve("localhost/made")
		if err != nil || img.ID != id || read(t, img, "d/f") != "content" || img.History[0].Created.Unix() != epoch.Unix() {
			t.Fatalf("%+v, %v", img, err)
		}
		if !first.IsZero() && id != first {
			t.Errorf("made again it is %s, not %s", id, first)
		}
		first = id
	}
}

// However a tar is compressed, the layer is the same.
func TestImport(t *testing.T) {
	l, z := gz(t, "a", strings.Repeat("content", 1000)), zst(t, "a", "")
	pack := func(program string) []byte {
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(l.tar)
		out, err := cmd.Output()
		if err != nil {
			t.Logf("needs the program %s: %v", program, err)
		}
		return out
	}
	s := open(t)
	for name, data := range map[string][]byte{"plain": l.tar, "gzip": l.packed, "zstd": pack("zstd"), "bzip2": pack("bzip2")} {
		if len(data) == 0 {
			continue
		}
		id, err := s.Import(t.Context(), Recipe{Created: epoch, Comment: "c"}, bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		img, err := s.Resolve(id.String())
		if err != nil || len(img.DiffIDs) != 1 || img.DiffIDs[0] != oci.FromBytes(l.tar) || len(read(t, img, "a")) != 7000 {
			t.Errorf("%s: %+v, %v", name, img, err)
			continue
		}
		w, err := s.whole(id, oci.Digest{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.packedLayer(t.Context(), w, 0)
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := io.ReadAll(f)
		f.Close()
		if d := w.manifest.Layers[0]; oci.FromBytes(packed) != d.Digest || int64(len(packed)) != d.Size {
			t.Errorf("%s: the packed layer is not what the manifest says", name)
		}
		if name == "gzip" && !bytes.Equal(packed, data) {
			t.Errorf("%s: it was packed anew", name)
		}
	}
	if _, err := s.Import(t.Context(), Recipe{Created: epoch}, bytes.NewReader(z.packed)); err != nil {
		t.Error(err)
	}
}

func TestImportRefuses(t *testing.T) {
	l := gz(t, "a", noise(100_000))
	for name, test := range map[string]struct {
		data []byte
		name string
		want string
	}{
		"no tar":         {[]byte(strings.Repeat("no tar ", 1000)), "x", "layer"},
		"cut off":        {l.packed[:50_000], "x", "unexpected EOF"},
		"cut off, plain": {l.tar[:50_000], "x", "cut off"},
		"xz":             {[]byte("\xfd7zXZ\x00xxxxxxxxxxxxxx"), "x", "xz"},
		"outside":        {plain(t, "../x", "y").tar, "x", "leads out of the layer"},
		"name":           {l.packed, "Not/A/Name", "invalid image name"},
		"digest":         {l.packed, "x@" + oci.FromBytes(nil).String(), "can't be given"},
	} {
		s := open(t)
		_, err := s.Import(t.Context(), Recipe{Name: test.name, Created: epoch}, bytes.NewReader(test.data))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: want %q, got %v", name, test.want, err)
		}
		wantNothing(t, s)
		if blobs, _ := os.ReadDir(s.files.Root() + "/blob/sha256"); len(blobs) > 0 {
			t.Errorf("%s: it left %v", name, blobs)
		}
	}
}

// A layer upon an image keeps what is below, of Docker's types too.
func TestMakeUponAnImage(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "below"), plain(t, "b", "plain"))
	base, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Make(t.Context(), Recipe{Base: base.ID, Created: epoch, Author: "me", CreatedBy: "sh", Comment: "msg"}, func(w io.Writer) error {
		_, err := w.Write(ownTar(t, "d/f", "above"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve(id.String())
	if err != nil || !slices.Equal(img.DiffIDs[:2], base.DiffIDs) || len(img.DiffIDs) != 3 || read(t, img, "a")+read(t, img, "d/f") != "belowabove" {
		t.Errorf("%+v, %v", img, err)
	}
	if h := img.History[len(img.History)-1]; h.Author != "me" || h.CreatedBy != "sh" || h.Comment != "msg" {
		t.Errorf("history %+v", h)
	}
	// It has no name, and stays all the same.
	if list, err := s.List(); err != nil || len(list) != 2 {
		t.Errorf("%d images, %v", len(list), err)
	}
}

func TestChange(t *testing.T) {
	base := func() oci.ImageConfig {
		return oci.ImageConfig{Env: []string{"PATH=/bin", "A=1"}, Cmd: []string{"old"}, WorkingDir: "/srv", Labels: map[string]string{"k": "old"}}
	}
	for _, test := range []struct {
		lines []string
		want  func(c *oci.ImageConfig)
	}{
		{[]string{`CMD ["a", "b c"]`}, func(c *oci.ImageConfig) { c.Cmd = []string{"a", "b c"} }},
		{[]string{`cmd echo $A`}, func(c *oci.ImageConfig) { c.Cmd = []string{"/bin/sh", "-c", "echo $A"} }},
		{[]string{`ENTRYPOINT ["/x"]`}, func(c *oci.ImageConfig) { c.Entrypoint, c.Cmd = []string{"/x"}, nil }},
		{[]string{`CMD ["y"]`, `entrypoint ["/x"]`}, func(c *oci.ImageConfig) { c.Entrypoint, c.Cmd = []string{"/x"}, []string{"y"} }},
		{[]string{`ENV PATH=$PATH:/x B="b c" C='$A' D=a\ b`}, func(c *oci.ImageConfig) { c.Env = []string{"PATH=/bin:/x", "A=1", "B=b c", "C=1", "D=a b"} }},
		{[]string{`ENV A two words`}, func(c *oci.ImageConfig) { c.Env = []string{"PATH=/bin", "A=two words"} }},
		{[]string{`EXPOSE 80 53/UDP 8000-8002/tcp`}, func(c *oci.ImageConfig) {
			c.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}
		}},
		{[]string{`LABEL k=new l="a b"`}, func(c *oci.ImageConfig) { c.Labels = map[string]string{"k": "new", "l": "a b"} }},
		{[]string{`ONBUILD RUN x`, `ONBUILD RUN y`}, func(c *oci.ImageConfig) { c.OnBuild = []string{"RUN x", "RUN y"} }},
		{[]string{`STOPSIGNAL SIGINT`, `USER 1:${A}`}, func(c *oci.ImageConfig) { c.StopSignal, c.User = "SIGINT", "1:1" }},
		{[]string{`VOLUME ["/a b"]`, `VOLUME /c /d`}, func(c *oci.ImageConfig) { c.Volumes = map[string]struct{}{"/a b": {}, "/c": {}, "/d": {}} }},
		{[]string{`WORKDIR a/../b`, `WORKDIR c`}, func(c *oci.ImageConfig) { c.WorkingDir = "/srv/b/c" }},
		{[]string{`WORKDIR /`}, func(c *oci.ImageConfig) { c.WorkingDir = "/" }},
		{[]string{`HEALTHCHECK --interval=5s --retries=3 CMD curl x`}, func(c *oci.ImageConfig) {
			c.Healthcheck = &oci.Healthcheck{Test: []string{"CMD-SHELL", "curl x"}, Interval: 5 * time.Second, Retries: 3}
		}},
		{[]string{`HEALTHCHECK CMD ["a"]`}, func(c *oci.ImageConfig) { c.Healthcheck = &oci.Healthcheck{Test: []string{"CMD", "a"}} }},
		{[]string{`HEALTHCHECK NONE`}, func(c *oci.ImageConfig) { c.Healthcheck = &oci.Healthcheck{Test: []string{"NONE"}} }},
	} {
		got, want := base(), base()
		if err := Change(&got, test.lines...); err != nil {
			t.Errorf("%v: %v", test.lines, err)
		}
		test.want(&want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", test.lines, diff)
		}
	}
	for _, bad := range []string{"", "CMD", "RUN x", "ENV", "ENV A", "ENV =x", `ENV A="b`, "EXPOSE x", "EXPOSE 0", "EXPOSE 80/icmp", "EXPOSE 9-8", "EXPOSE 70000", "LABEL", "HEALTHCHECK x", "HEALTHCHECK --x=1 CMD y", "HEALTHCHECK --interval=x CMD y", "FROM scratch"} {
		c := base()
		if err := Change(&c, bad); err == nil {
			t.Errorf("%q is accepted: %+v", bad, c)
		} else if diff := cmp.Diff(base(), c); diff != "" {
			t.Errorf("%q is refused, and changes: %s", bad, diff)
		}
	}
}

func FuzzChange(f *testing.F) {
	for _, line := range []string{`ENV A="b c" D=$A`, `HEALTHCHECK --interval=5s CMD ["x"]`, "EXPOSE 1-65535/udp", `LABEL a\ b=c`, "WORKDIR ${X"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := oci.ImageConfig{Env: []string{"A=1"}}
		if err := Change(&c, line); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		if c.WorkingDir != "" && c.WorkingDir[0] != '/' {
			t.Errorf("working directory %q", c.WorkingDir)
		}
	})
}
