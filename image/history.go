package image

import (
	"fmt"

	"loper.run/image/oci"
)

// Step is one entry of an image's history.
type Step struct {
	oci.History
	// Layer is what the step added, the zero digest when it added nothing.
	Layer oci.Digest
	Size  int64 // bytes of the layer's files
}

// Steps returns how an image was made, the newest step first. The text is the
// image's own word. Layers that no step accounts for come as steps that say
// nothing, on top.
func (s *Store) Steps(img *Image) ([]Step, error) {
	var steps []Step
	rest := img.DiffIDs
	for _, h := range img.History {
		step := Step{History: h}
		if !h.EmptyLayer && len(rest) > 0 {
			step.Layer, rest = rest[0], rest[1:]
		}
		steps = append(steps, step)
	}
	for _, d := range rest {
		steps = append(steps, Step{Layer: d})
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	for i := range steps {
		if steps[i].Layer.IsZero() {
			continue
		}
		size, err := s.LayerSize(steps[i].Layer)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w: pull it again", img.ID.Short(), err)
		}
		steps[i].Size = size
	}
	return steps, nil
}

// LayerSize is what a layer's files hold, in bytes.
func (s *Store) LayerSize(diffID oci.Digest) (int64, error) {
	l, err := s.files.Layer(diffID)
	return l.Size, err
}
