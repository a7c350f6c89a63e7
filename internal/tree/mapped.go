package tree

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"loper.run/internal/userns"
)

const (
	recordWorker  = "tree-record"
	measureWorker = "tree-measure"
	shareWorker   = "tree-share"
)

// Workers registers what is done inside an ordinary user's user namespace. Call
// it before userns.Main.
func Workers() {
	userns.Register(recordWorker, func(args []string) error {
		return Record(os.NewFile(3, "tree"), os.Stdout, len(args) == 1 && args[0] == "contents")
	})
	userns.Register(shareWorker, func(args []string) error {
		var o Share
		if len(args) != 1 || json.Unmarshal([]byte(args[0]), &o) != nil {
			return errors.New("want what to share")
		}
		done, err := ShareFiles(os.NewFile(3, "tree"), o)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(done)
	})
	userns.Register(measureWorker, func(args []string) error {
		depth := map[string]int{}
		if len(args) != 1 || json.Unmarshal([]byte(args[0]), &depth) != nil {
			return errors.New("want DEPTHS")
		}
		parts, err := Measure(os.NewFile(3, "tree"), depth)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(parts)
	})
}

// mapped tells whether files may belong to ids that only a user namespace gives.
func mapped() (bool, error) {
	if !userns.Rootless() {
		return false, nil
	}
	uids, gids, err := userns.Mappings()
	return err == nil && !userns.Single(uids) && !userns.Single(gids), err
}

// RecordMapped is Record for the owner of a tree whose files may be of his other
// ids: owners are those inside the user namespace.
func RecordMapped(ctx context.Context, dir *os.File, w io.Writer, contents bool) error {
	inside, err := mapped()
	if err != nil {
		return err
	}
	if !inside {
		return Record(dir, w, contents)
	}
	args := []string{}
	if contents {
		args = append(args, "contents")
	}
	return work(ctx, recordWorker, args, dir, w)
}

// MeasureMapped is Measure for the owner of a tree whose files may be of his
// other ids.
func MeasureMapped(ctx context.Context, dir *os.File, depth map[string]int) (map[string]Usage, error) {
	inside, err := mapped()
	if err != nil {
		return nil, err
	}
	if !inside {
		return Measure(dir, depth)
	}
	args, err := json.Marshal(depth)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := work(ctx, measureWorker, []string{string(args)}, dir, &out); err != nil {
		return nil, err
	}
	parts := map[string]Usage{}
	return parts, json.Unmarshal(out.Bytes(), &parts)
}

// ShareMapped is ShareFiles for the owner of trees whose files may be of his
// other ids.
func ShareMapped(ctx context.Context, dir *os.File, o Share) (done Shared, err error) {
	inside, err := mapped()
	if err != nil {
		return done, err
	}
	if !inside {
		return ShareFiles(dir, o)
	}
	args, err := json.Marshal(o)
	if err != nil {
		return done, err
	}
	var out bytes.Buffer
	if err := work(ctx, shareWorker, []string{string(args)}, dir, &out); err != nil {
		return done, err
	}
	return done, json.Unmarshal(out.Bytes(), &done)
}

// work runs a worker upon dir and copies what it says to w.
func work(ctx context.Context, name string, args []string, dir *os.File, w io.Writer) error {
	r, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, r)
		if err != nil {
			io.Copy(io.Discard, r)
		}
		copied <- err
	}()
	worker := userns.Worker{Name: name, Args: args, Stdout: out, Files: []*os.File{dir}}
	err = worker.Run(ctx)
	out.Close()
	copyErr := <-copied
	if err != nil {
		return fmt.Errorf("look over %s in a user namespace: %w", dir.Name(), err)
	}
	return copyErr
}
