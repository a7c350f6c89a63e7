package archive

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"loper.run/image/oci"
)

// plainVersion is the content of the file version of a plain directory.
const plainVersion = "Directory Transport Version: 1.1\n"

// plainPlace is where a plain directory has a blob. Newer ones prefix all
// algorithms but the usual one.
func plainPlace(d oci.Digest) string {
	if d.Algorithm() == oci.SHA256 {
		return d.Hex()
	}
	return d.Algorithm().String() + "-" + d.Hex()
}

// readPlain reads a directory of skopeo's dir: transport: manifest.json is the
// manifest itself, and there are no names.
func (a *Archive) readPlain() error {
	version, err := file(a.files, "version", maxIndex)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(version), "Directory Transport Version: 1.") {
		return fmt.Errorf("version: %.60q is unknown", version)
	}
	body, err := file(a.files, "manifest.json", oci.MaxManifest)
	if err != nil {
		return err
	}
	doc, err := oci.ParseDocument(body, "")
	if err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	a.blobs, a.place = make(map[oci.Digest]Content), plainPlace
	a.Images = []Image{{Target: a.remember(body, doc.MediaType)}}
	return nil
}

// Signatures reads the simple signatures that lie beside the image of a plain
// directory, at most so many of at most so many bytes each.
func (a *Archive) Signatures(most int, limit int64) (all [][]byte, err error) {
	if a.Form != DockerDir {
		return nil, nil
	}
	for len(all) < most {
		body, err := file(a.files, fmt.Sprintf("signature-%d", len(all)+1), limit)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, body)
	}
	return all, nil
}
