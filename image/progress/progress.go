// Package progress shows how the layers of an image come in and go out: as bars
// on a terminal, as plain lines elsewhere.
package progress

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// State is what happens to a layer. Its text is what people read.
type State string

// The states of a layer, in the order they are passed through. The last four
// are final.
const (
	Waiting     State = "Waiting"
	Elsewhere   State = "Waiting for another pull"
	Downloading State = "Downloading"
	Downloaded  State = "Download complete"
	Retrying    State = "Retrying"
	Extracting  State = "Extracting"
	Complete    State = "Pull complete"
	Loaded      State = "Loaded"
	Exists      State = "Already exists"
	Failed      State = "Failed"
)

// The states of a layer on its way out; the last three, and those of Mounted, are
// final.
const (
	Preparing State = "Preparing"
	Pushing   State = "Pushing"
	Pushed    State = "Pushed"
	Kept      State = "Layer already exists"
	Skipped   State = "Skipped foreign layer"
)

const mounted = "Mounted from "

// Mounted is the state of a layer that the registry had in another repository.
func Mounted(repository string) State { return State(mounted + repository) }

// Final reports whether nothing follows s.
func (s State) Final() bool {
	switch s {
	case Complete, Loaded, Exists, Failed, Pushed, Kept, Skipped:
		return true
	}
	return strings.HasPrefix(string(s), mounted)
}

// Display shows the layers of one pull or push. Its methods may be called from several
// goroutines, as often as there is news: drawing is limited, not the calls.
type Display interface {
	// Message shows one line of its own, above the layers.
	Message(text string)
	// Update sets the state of the layer with the short id; done and total are
	// bytes, total 0 when unknown.
	Update(id string, s State, done, total int64)
	// Parts says which ranges of a layer's bytes, each from and to, have come in
	// when these are not just the first ones: it comes over several connections.
	Parts(id string, have [][2]int64)
	// Close draws the last state. Nothing may be shown after it.
	Close()
}

// New returns bars when w is a terminal that can draw them, else plain lines.
func New(w io.Writer) Display {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return newBars(f, func() (width, height int, err error) { return term.GetSize(int(f.Fd())) })
	}
	return &lines{w: w, last: make(map[string]State)}
}
