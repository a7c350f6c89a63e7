package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

// Form is how an archive is laid out, by podman's words.
type Form string

// The forms that can be written.
const (
	// DockerArchive is the tar of a current docker: an OCI layout, and docker's
	// manifest.json beside it, so that new tools and old ones read it.
	DockerArchive Form = "docker-archive"
	OCIArchive    Form = "oci-archive" // the tar of an OCI layout
	OCIDir        Form = "oci-dir"     // an OCI layout
	DockerDir     Form = "docker-dir"  // skopeo's dir:, for one image
)

// Dir reports whether the form is a directory.
func (f Form) Dir() bool { return f == OCIDir || f == DockerDir }

// ParseForm reads a form's word; "" is DockerArchive.
func ParseForm(word string) (Form, error) {
	switch f := Form(word); f {
	case "":
		return DockerArchive, nil
	case DockerArchive, OCIArchive, OCIDir, DockerDir:
		return f, nil
	}
	return "", fmt.Errorf("unknown format %.40q: must be one of \"docker-archive\", \"oci-archive\", \"oci-dir\" or \"docker-dir\"", word)
}

// Writer writes an archive. Blobs come first, in any order and each once; then
// Finish writes what lists them.
type Writer struct {
	form    Form
	to      sink
	written map[oci.Digest]bool
	images  []Saved
}

// Saved is an image of an archive that is written.
type Saved struct {
	Names []reference.Reference // may be none
	// Target is the manifest, or an index that names it.
	Target oci.Descriptor
	// Body is that of the target.
	Body []byte
	// Manifest is the image's own, which those see who know no indexes.
	Manifest *oci.Manifest
}

// sink is where files of an archive go.
type sink interface {
	file(name string, c Content) error
	// finish ends the archive; what isn't finished is no archive.
	finish() error
	// abort removes what there is. It is harmless after finish.
	abort()
}

// Create begins an archive of a form at a path, which appears when it is
// finished.
func Create(path string, form Form) (*Writer, error) {
	to, err := create(path, form.Dir())
	if err != nil {
		return nil, err
	}
	return newWriter(to, form), nil
}

// NewWriter begins an archive that is a tar, on an open file or pipe.
func NewWriter(f *os.File, form Form) (*Writer, error) {
	if form.Dir() {
		return nil, fmt.Errorf("%s is a directory and can't be written to a stream", form)
	}
	return newWriter(&tarSink{f: f}, form), nil
}

func newWriter(to sink, form Form) *Writer {
	return &Writer{form: form, to: to, written: make(map[oci.Digest]bool)}
}

// Has reports whether a blob is in the archive already.
func (w *Writer) Has(d oci.Digest) bool { return w.written[d] }

// Blob writes the content of a descriptor, a whole file, and verifies it.
func (w *Writer) Blob(ctx context.Context, d oci.Descriptor, f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != d.Size {
		return fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, st.Size(), d.Size)
	}
	return w.blob(ctx, d.Digest, Content{File: f, Size: d.Size})
}

// Document writes a small blob.
func (w *Writer) Document(ctx context.Context, d oci.Digest, body []byte) error {
	return w.blob(ctx, d, Content{memory: body, Size: int64(len(body))})
}

func (w *Writer) blob(ctx context.Context, d oci.Digest, c Content) error {
	if d.IsZero() {
		return errors.New("blob without a digest")
	}
	if w.written[d] {
		return nil
	}
	// The bytes are hashed beside their copying, which the kernel does alone.
	h := d.Hash()
	hashed := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{&stopper{ctx, c.Reader()}}, make([]byte, 256<<10))
		hashed <- err
	}()
	err := w.to.file(w.place(d), c)
	if hashErr := <-hashed; err == nil {
		err = hashErr
	}
	if err != nil {
		return fmt.Errorf("write blob %s: %w", d, err)
	}
	if err := d.Verify(h); err != nil {
		return fmt.Errorf("write blob %s: %w", d, err)
	}
	w.written[d] = true
	return nil
}

func (w *Writer) place(d oci.Digest) string {
	if w.form == DockerDir {
		return plainPlace(d)
	}
	return blobPlace(d)
}

// Image adds an image whose blobs are written, all but the target.
func (w *Writer) Image(ctx context.Context, img Saved) error {
	if w.form == DockerDir {
		if len(w.images) > 0 {
			return fmt.Errorf("%s has room for one image", w.form)
		}
	} else if err := w.Document(ctx, img.Target.Digest, img.Body); err != nil {
		return err
	}
	w.images = append(w.images, img)
	return nil
}

// Finish writes what lists the images and ends the archive.
func (w *Writer) Finish() error {
	if len(w.images) == 0 {
		return errors.New("an archive must have an image")
	}
	lists := []listed{{"index.json", w.index()}}
	switch w.form {
	case DockerDir:
		lists = []listed{{"manifest.json", json.RawMessage(w.images[0].Body)}, {"version", plainVersion}}
	case DockerArchive:
		lists = append(lists, listed{"manifest.json", w.dockerList()}, listed{"oci-layout", layoutVersion})
	default:
		lists = append(lists, listed{"oci-layout", layoutVersion})
	}
	for _, l := range lists {
		data, err := l.encode()
		if err == nil {
			err = w.to.file(l.name, Content{memory: data, Size: int64(len(data))})
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", l.name, err)
		}
	}
	return w.to.finish()
}

// Abort removes what was written. It is harmless after Finish.
func (w *Writer) Abort() { w.to.abort() }

// listed is one of the files that list what an archive has.
type listed struct {
	name string
	body any // JSON, or text
}

func (m listed) encode() ([]byte, error) {
	switch v := m.body.(type) {
	case string:
		return []byte(v), nil
	case json.RawMessage:
		return v, nil // as it is: its digest counts
	}
	return json.Marshal(m.body)
}

// index lists each name of each image.
func (w *Writer) index() any {
	x := oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{}}
	for _, img := range w.images {
		d := oci.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
		for _, name := range img.Names {
			d.Annotations = map[string]string{annotationName: name.String(), annotationRef: name.String()}
			if w.form == DockerArchive && name.Tag != "" {
				d.Annotations[annotationRef] = name.Tag // as docker has it
			}
			x.Manifests = append(x.Manifests, d)
		}
		if len(img.Names) == 0 {
			x.Manifests = append(x.Manifests, d)
		}
	}
	return x
}

func (w *Writer) dockerList() any {
	entries := []dockerEntry{}
	for _, img := range w.images {
		e := dockerEntry{Config: blobPlace(img.Manifest.Config.Digest), Layers: []string{}}
		for _, name := range img.Names {
			e.RepoTags = append(e.RepoTags, name.String()) // podman would put a short name below localhost/
		}
		for _, l := range img.Manifest.Layers {
			e.Layers = append(e.Layers, blobPlace(l.Digest))
		}
		entries = append(entries, e)
	}
	return entries
}
