package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"loper.run/image/oci"
)

// Annotations of index.json that give an image its name: containerd's and
// docker's whole one, and the image specification's, which may be a tag alone.
const (
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
)

// layoutVersion is the content of oci-layout.
const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// blobPlace is where an OCI layout has a blob.
func blobPlace(d oci.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Hex()
}

// readLayout reads the index of an OCI layout.
func (a *Archive) readLayout() error {
	data, err := file(a.files, "oci-layout", maxIndex)
	if err != nil {
		return err
	}
	var layout struct{ ImageLayoutVersion string }
	if err := json.Unmarshal(data, &layout); err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	if !strings.HasPrefix(layout.ImageLayoutVersion, "1.") {
		return fmt.Errorf("oci-layout: version %.20q is unknown", layout.ImageLayoutVersion)
	}
	if data, err = file(a.files, "index.json", maxIndex); err != nil {
		return err
	}
	doc, err := oci.ParseDocument(data, oci.TypeIndex)
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	a.place = blobPlace
	byTarget := make(map[oci.Digest]int)
	for _, d := range doc.Index.Manifests {
		at, known := byTarget[d.Digest]
		if !known {
			at = len(a.Images)
			byTarget[d.Digest] = at
			a.Images = append(a.Images, Image{Target: d})
		}
		if name := layoutName(d.Annotations); name != "" {
			a.Images[at].Names = append(a.Images[at].Names, name)
		}
		if len(a.Images[at].Names) > maxNames {
			return fmt.Errorf("index.json: image %s has more than %d names", d.Digest.Short(), maxNames)
		}
	}
	if len(a.Images) == 0 {
		return errors.New("index.json: there is no image in it")
	}
	return a.dockerNames()
}

// layoutName is the whole name in annotations, "" when there is none: a tag
// alone names nothing.
func layoutName(annotations map[string]string) string {
	if name := annotations[annotationName]; name != "" {
		return name
	}
	if name := annotations[annotationRef]; strings.ContainsAny(name, "/:") {
		return name
	}
	return ""
}

// dockerNames takes the names that only docker's list beside an OCI layout has,
// for images that are in the layout with the same configuration.
func (a *Archive) dockerNames() error {
	for _, img := range a.Images {
		if len(img.Names) > 0 {
			return nil
		}
	}
	list, err := readDockerList(a.files)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range a.Images {
		body, err := a.Small(a.Images[i].Target, oci.MaxManifest)
		if err != nil {
			continue // whoever wants the image is told
		}
		doc, err := oci.ParseDocument(body, a.Images[i].Target.MediaType)
		if err != nil || doc.Manifest == nil {
			continue
		}
		for _, entry := range list {
			if name, ok := clean(entry.Config); ok && name == blobPlace(doc.Manifest.Config.Digest) {
				a.Images[i].Names = append(a.Images[i].Names, entry.RepoTags...)
			}
		}
	}
	return nil
}
