package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/image/registry/conf"
	"loper.run/image/store"
	"loper.run/image/trust"
)

// PullOptions says what to pull and how to show it.
type PullOptions struct {
	Platform string // os/arch[/variant]; "" is the host's
	// AllPlatforms pulls the images for all platforms, in place of one.
	AllPlatforms bool
	Progress     Progress // nil is quiet; Pull doesn't close it
	// Choose asks which of several full names a short one means; nil is that
	// nobody can be asked.
	Choose func(short string, names []string) (int, error)
	// Trust is how strict to be about signatures.
	Trust trust.Options
	// Tries and Backoff are those of registry.Client.
	Tries   int
	Backoff time.Duration
}

// pull is one image on its way in.
type pull struct {
	s      *Store
	ref    reference.Reference
	client *registry.Client
	show   Progress
	trust  trust.Options

	target   oci.Digest // what the name stands for: an index or the manifest
	digest   oci.Digest // of the manifest
	body     []byte     // of the manifest
	manifest *oci.Manifest
	indexes  []document // that led to the manifest, the outermost first
	image    *oci.Image
	config   []byte
	decided  chan struct{} // closed with the verdict
	fresh    bool          // something was fetched
	verdict  trust.Verdict
}

// Pull makes an image be in the store as its registry has it. Whatever is there
// already is not fetched again, also what an interrupted pull left. Nothing of
// the image can be seen before all of it was verified and synced.
func (s *Store) Pull(ctx context.Context, name string, o PullOptions) (*Image, error) {
	if name == Host || name == Hello {
		return s.Resolve(name)
	}
	if _, err := oci.ParsePlatform(o.Platform); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	refs, chosen, err := candidates(name, o.Choose)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, ref := range refs {
		img, err := s.pullPlatforms(ctx, ref, o)
		if err == nil {
			if chosen {
				err = conf.Remember(name, ref.Name())
			}
			return img, err
		}
		if failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		if failed = err; ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func (s *Store) pullRef(ctx context.Context, ref reference.Reference, o PullOptions) (*Image, error) {
	if !ref.Digest.IsZero() {
		ref.Tag = "" // the digest decides
	}
	ref = ref.WithDefaultTag()
	platform, err := oci.ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	client, err := s.connect(ref.Domain, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	defer client.Close()
	client.Tries, client.Backoff = o.Tries, o.Backoff
	p := &pull{s: s, ref: ref, client: client, show: o.Progress, trust: o.Trust}
	img, err := p.run(ctx, platform, o.Platform != "")
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	img.PulledAs = ref.String()
	return img, nil
}

type quiet struct{}

func (quiet) Message(string)                             {}
func (quiet) Update(string, ProgressState, int64, int64) {}
func (quiet) Parts(string, [][2]int64)                   {}
func (quiet) Close()                                     {}

func (p *pull) run(ctx context.Context, platform oci.Platform, asked bool) (*Image, error) {
	release, err := p.s.files.Use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	label := p.ref.Tag
	if label == "" {
		label = p.ref.Digest.String()
	}
	if err := p.resolve(ctx, platform, asked); err != nil {
		return nil, err
	}
	p.show.Message(label + ": Pulling from " + p.ref.Path)
	if asked && platform.Fit(p.image.Platform) == 0 {
		return nil, fmt.Errorf("the image is for %.60s, not for %s", p.image.Platform, platform)
	}
	p.fresh = !p.present()
	if !p.fresh {
		err = p.decide(ctx)
	} else {
		err = p.decideAndFetch(ctx)
	}
	if err != nil {
		return nil, err
	}
	img, err := p.published()
	if err != nil {
		return nil, err
	}
	p.show.Message("Digest: " + p.target.String())
	if p.fresh {
		p.show.Message("Status: Downloaded newer image for " + p.ref.Familiar())
	} else {
		p.show.Message("Status: Image is up to date for " + p.ref.Familiar())
	}
	return img, nil
}

// decideAndFetch makes the layers ready to come in while it is asked whether the
// image may be used. Nothing of them is fetched before that is answered.
func (p *pull) decideAndFetch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.decided = make(chan struct{})
	go func() {
		if err := p.decide(ctx); err != nil {
			cancel(err)
		}
		close(p.decided)
	}()
	if err := p.layers(ctx); err != nil {
		cancel(err) // nobody waits for the answer any more
	}
	<-p.decided
	return context.Cause(ctx)
}

// mayFetch waits for the decision.
func (p *pull) mayFetch(ctx context.Context) error {
	select {
	case <-p.decided:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// published publishes the image and returns it as it is now. Somebody may
// remove its record or its names meanwhile, but not what it is made of, so that
// it can be published again.
func (p *pull) published() (img *Image, err error) {
	for range 20 {
		if err = p.publish(); err == nil {
			img, err = p.s.loadNamed(p.manifest.Config.Digest)
		}
		if !isNotExist(err) && !errors.Is(err, ErrNotFound) {
			break
		}
		p.fresh = true
	}
	return img, err
}

// named fetches what the name stands for. A digest never changes its meaning,
// so that what the store has of it needs no registry.
func (p *pull) named(ctx context.Context) (body []byte, mediaType string, digest oci.Digest, err error) {
	if d := p.ref.Digest; !d.IsZero() {
		if body, err := p.blob(d, oci.MaxManifest); err == nil {
			return body, "", d, nil
		}
		return p.client.Manifest(ctx, p.ref)
	}
	if n, err := p.s.files.Name(p.ref.String()); err == nil {
		if body, err := p.blob(n.Manifest, oci.MaxManifest); err == nil {
			if d, err := p.client.Digest(ctx, p.ref); err == nil && d == n.Manifest {
				return body, "", d, nil
			}
		}
	}
	return p.client.Manifest(ctx, p.ref)
}

func (p *pull) blob(d oci.Digest, limit int64) ([]byte, error) { return p.s.files.Blob(d, limit) }

func (p *pull) configuration(ctx context.Context) error {
	if err := p.manifest.CheckImage(); err != nil {
		return err
	}
	d := p.manifest.Config
	body, err := p.blob(d.Digest, oci.MaxConfig)
	if err != nil {
		var ok bool
		if body, ok = d.Embedded(); !ok {
			if body, err = p.client.Small(ctx, p.ref.Path, d, oci.MaxConfig); err != nil {
				return err
			}
		}
	}
	p.config = body
	p.image, err = oci.ParseImage(body, p.manifest)
	return err
}

// present reports whether the very image is in the store with all its layers.
func (p *pull) present() bool {
	rec, err := p.s.files.Image(p.manifest.Config.Digest)
	if err != nil || rec.Manifest != p.digest {
		return false
	}
	for _, d := range []oci.Digest{p.digest, rec.ID} {
		if _, err := p.blob(d, oci.MaxConfig); err != nil {
			return false
		}
	}
	for _, d := range p.image.RootFS.DiffIDs {
		if _, err := p.s.files.Layer(d); err != nil {
			return false
		}
	}
	return true
}

// publish records the image and its names. Only a record that says by which
// digest it was pulled is shown without a name: one that lacks it is of a pull
// that was killed right here.
func (p *pull) publish() error {
	id := p.manifest.Config.Digest
	rec, err := p.s.files.Image(id)
	if !p.fresh {
		p.s.files.Touch(id)
	} else {
		if rec, err = p.record(id); err == nil {
			rec.Signer = p.verdict.Signer()
			err = p.s.files.PutImage(rec)
		}
	}
	if err == nil {
		err = p.s.keepVerdict(&rec, p.verdict)
	}
	if err != nil {
		return err
	}
	byDigest := p.ref
	byDigest.Tag, byDigest.Digest = "", p.target
	for _, ref := range []reference.Reference{p.ref, byDigest} { // a digest alone would be listed without a tag
		if err := p.s.nameImage(ref.String(), id, p.target); err != nil {
			return err
		}
	}
	if len(rec.Digests) == 0 {
		rec.Digests = []string{byDigest.String()}
		return p.s.files.PutImage(rec)
	}
	return nil
}

func (p *pull) record(id oci.Digest) (store.Image, error) {
	docs := append([]document{{p.digest, p.body}, {id, p.config}}, p.indexes...)
	return p.s.newRecord(p.manifest, p.image, docs)
}
