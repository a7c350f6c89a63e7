package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/image/oci"
)

func (e *testEngine) commit(c *Container, o CommitOptions) oci.Digest {
	e.t.Helper()
	o.Created = time.Unix(1_000_000_000, 0)
	id, err := c.Commit(e.t.Context(), o)
	if err != nil {
		e.t.Fatal(err)
	}
	return id
}

// What a container changed is in the image that is made of it, with the ids
// that the container knows, and how it is run.
func TestCommit(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{
		Command: []string{"sh", "-c", "rm /etc/group; echo x > /new; chown 1000:2000 /new; rm -r /home/worker; mkdir /home/worker; touch /home/worker/f; chmod 4755 /new"},
		Env:     []string{"A=b"}, WorkingDir: "/tmp", User: "0", Labels: map[string]string{"l": "v"}, StopSignal: "SIGINT",
	})
	e.wait(c)
	id := e.commit(c, CommitOptions{Name: "made:1", Author: "me", Message: "words", Changes: []string{`ENTRYPOINT ["sh", "-c"]`, "CMD true"}})
	img, err := e.Images.Resolve("made:1")
	if err != nil || img.ID != id {
		t.Fatalf("%+v, %v", img, err)
	}
	cfg := img.Config
	if fmt.Sprintf("%v %v %v %v %v %v", cfg.Entrypoint, cfg.Cmd, cfg.WorkingDir, cfg.User, cfg.Labels, cfg.StopSignal) != "[sh -c] [/bin/sh -c true] /tmp 0 map[l:v] SIGINT" || !strings.Contains(strings.Join(cfg.Env, " "), "A=b") {
		t.Errorf("config %+v", cfg)
	}
	if h := img.History[len(img.History)-1]; h.Author != "me" || h.Comment != "words" || !strings.HasPrefix(h.CreatedBy, "sh -c rm") {
		t.Errorf("history %+v", h)
	}
	e.img = img
	out, _ := e.run(Settings{Entrypoint: []string{""}}, "stat -c '%a %u %g' /new; cat /new; ls /home/worker; ls /etc/group; ls /etc")
	if !strings.HasPrefix(out, "4755 1000 2000\nx\nf\n") || strings.Contains(out, "group\n") {
		t.Errorf("inside: %q", out)
	}
	// What the engine itself put there is in no layer.
	layer := img.Layers[len(img.Layers)-1]
	for _, name := range madeHere {
		if _, err := os.Lstat(filepath.Join(layer, name)); err == nil {
			t.Errorf("the layer has %s", name)
		}
	}
	// Once more, it is the same layer.
	again := e.commit(c, CommitOptions{})
	two, err := e.Images.Resolve(again.String())
	if err != nil || two.DiffIDs[len(two.DiffIDs)-1] != img.DiffIDs[len(img.DiffIDs)-1] {
		t.Errorf("%+v, %v", two, err)
	}
}

// A running container is paused meanwhile and goes on, whatever comes of it.
func TestCommitPauses(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{Command: []string{"sleep", "1000"}})
	e.commit(c, CommitOptions{})
	if st := e.status(c); st.State != Running {
		t.Errorf("after it, it is %s", st.State)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Commit(ctx, CommitOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if st := e.status(c); st.State != Running {
		t.Errorf("after one that was cancelled, it is %s", st.State)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	e.commit(c, CommitOptions{})
	if st := e.status(c); st.State != Paused {
		t.Errorf("paused before, it is %s", st.State)
	}
}

func TestDiff(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{Command: []string{"sh", "-c", "rm /etc/group; echo x >> /etc/passwd; mkdir /d; echo > /d/f; rm -r /home; mkdir /home; chmod 700 /var; mv /root /moved"}})
	e.wait(c)
	list, err := c.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, change := range list {
		got = append(got, string(change.Kind)+change.Path)
	}
	if want := "A/d A/d/f C/etc D/etc/group C/etc/passwd C/home D/home/worker A/moved D/root C/var"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	quiet := e.start(Settings{Command: []string{"true"}})
	e.wait(quiet)
	if list, err := quiet.Diff(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("one that did nothing: %v, %v", list, err)
	}
}

// A container that exchanges files and directories for links while it is
// exported gets nothing of the host into the tar (CVE-2018-15664).
func TestExportRace(t *testing.T) {
	e := newEngine(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "f"), []byte("SECRET OF THE HOST"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := e.start(Settings{Command: []string{"sh", "-c", `mkdir -p /r/d; echo mine > /r/d/f; while :; do
		mv /r/d /r/e; ln -s ` + secret + ` /r/d; rm /r/d; mv /r/e /r/d; rm /r/d/f; ln -s ` + secret + `/f /r/d/f; rm /r/d/f; echo mine > /r/d/f; done`}})
	for range 40 {
		var b bytes.Buffer
		if err := c.Export(t.Context(), &b, nil); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b.Bytes(), []byte("SECRET")) {
			t.Fatal("a file of the host is exported")
		}
		for r := tar.NewReader(&b); ; {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
