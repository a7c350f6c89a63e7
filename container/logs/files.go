package logs

import (
	"errors"
	"io"
	"os"
)

// maxRotated bounds the search for rotated files.
const maxRotated = 1000

// openAll opens the files of a log, oldest first. A rotation meanwhile renames
// towards the older end, the way we walk: no file is missed, and one that is
// met twice is dropped.
func openAll(path string) ([]*os.File, error) {
	var files []*os.File
	for n, missing := 0, 0; n < maxRotated && missing < 2; n++ {
		f, err := os.Open(older(path, n))
		if errors.Is(err, os.ErrNotExist) {
			missing++ // one may be between two renames of a rotation
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, err
		}
		missing = 0
		if len(files) > 0 && same(files[0], f) {
			f.Close()
			continue
		}
		files = append([]*os.File{f}, files...)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func same(a, b *os.File) bool {
	ai, err := a.Stat()
	if err != nil {
		return false
	}
	bi, err := b.Stat()
	return err == nil && os.SameFile(ai, bi)
}

// after opens the file that was begun when cur was rotated; nil while cur is
// the newest. When cur was dropped meanwhile, or is nil, it is the oldest there
// is.
func after(path string, cur *os.File) (*os.File, error) {
	if isNewest(path, cur) {
		return nil, nil
	}
	files, err := openAll(path)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	at := -1
	for i, f := range files {
		if cur != nil && same(f, cur) {
			at = i
		}
	}
	if at == len(files)-1 {
		closeAll(files)
		return nil, nil
	}
	next := files[at+1]
	files[at+1] = nil
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
	return next, nil
}

func isNewest(path string, f *os.File) bool {
	if f == nil {
		return false
	}
	have, err := f.Stat()
	if err != nil {
		return false
	}
	newest, err := os.Stat(path)
	return err == nil && os.SameFile(have, newest)
}

// seekTail moves the files to where the last n lines of the wanted streams
// begin, and returns those that have some of them.
func seekTail(files []*os.File, n int, want Stream) ([]*os.File, error) {
	var seen Stream // streams whose last record was met
	for i := len(files) - 1; i >= 0; i-- {
		b, err := newBackward(files[i])
		if err != nil {
			return nil, err
		}
		for {
			line, at, err := b.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			r, err := ParseRecord(line)
			if err != nil || r.Stream&want == 0 {
				continue
			}
			if ends := !r.Partial || seen&r.Stream == 0; ends {
				seen |= r.Stream
				if n--; n < 0 {
					closeAll(files[:i])
					return files[i:], seek(files[i:], at+int64(len(line))+1)
				}
			}
		}
	}
	return files, seek(files, 0)
}

// seek moves the first file to at and the others to their beginnings.
func seek(files []*os.File, at int64) error {
	for _, f := range files {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
		at = 0
	}
	return nil
}
