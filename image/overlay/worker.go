package overlay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"loper.run/internal/userns"
)

const diffWorker = "overlay-diff"

// Workers registers what is done inside an ordinary user's user namespace. Call
// it before userns.Main.
func Workers() {
	userns.Register(diffWorker, func(args []string) error {
		var c Comparison
		if len(args) != 1 || json.Unmarshal([]byte(args[0]), &c) != nil {
			return errors.New("want COMPARISON")
		}
		list, err := Diff(c)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(list)
	})
}

// DiffMapped is Diff for the owner of layers whose files may be of his other
// ids: for an ordinary user it runs inside the user namespace, where the owners
// are what they are in his containers.
func DiffMapped(ctx context.Context, c Comparison) ([]Change, error) {
	if !userns.Rootless() {
		return Diff(c)
	}
	c.UIDs, c.GIDs = nil, nil
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var list []Change
	read := make(chan error, 1)
	go func() {
		err := json.NewDecoder(r).Decode(&list)
		r.Close()
		read <- err
	}()
	err = userns.Worker{Name: diffWorker, Args: []string{string(text)}, Stdout: out}.Run(ctx)
	out.Close()
	if readErr := <-read; err == nil && readErr != nil {
		err = fmt.Errorf("the list of changes: %w", readErr)
	}
	return list, err
}
