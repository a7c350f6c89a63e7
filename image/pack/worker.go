package pack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"loper.run/internal/userns"
)

const packWorker = "pack"

// Workers registers what is done inside an ordinary user's user namespace. Call
// it before userns.Main.
func Workers() {
	userns.Register(packWorker, func(args []string) error {
		var o Options
		if len(args) < 2 || json.Unmarshal([]byte(args[0]), &o) != nil {
			return errors.New("want OPTIONS and layers")
		}
		return Write(context.Background(), os.Stdout, args[1:], o)
	})
}

// WriteMapped is Write for the owner of layers whose files may be of his other
// ids: for an ordinary user it runs inside the user namespace, where the owners
// are what they are in his containers.
func WriteMapped(ctx context.Context, w io.Writer, layers []string, o Options) error {
	if !userns.Rootless() {
		return Write(ctx, w, layers, o)
	}
	o.UIDs, o.GIDs = nil, nil
	options, err := json.Marshal(o)
	if err != nil {
		return err
	}
	r, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		r.Close() // a worker that goes on has nobody to write for
		copied <- err
	}()
	err = userns.Worker{Name: packWorker, Args: append([]string{string(options)}, layers...), Stdout: out}.Run(ctx)
	out.Close()
	if copyErr := <-copied; copyErr != nil {
		return copyErr
	}
	return err
}
