package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Reading a thousand records takes three system calls each. A list of them is
// therefore kept in one file, by what the kernel says of the directory that each
// record is in: a record is only ever replaced by a rename, which changes the
// directory's time. Only lists are made of it. What decides, collects or checks
// reads the records themselves.
const (
	imageCache = "images.cache"
	nameCache  = "names.cache"
	// cacheFrom is how many records are worth a cache.
	cacheFrom = 100
	// cacheAge is how old a directory's last change must be for its time to tell
	// the next one apart, whatever the resolution of the clock.
	cacheAge = 2 * time.Second
	maxCache = 64 << 20
)

var errCache = errors.New("not a cache")

// stamp is what changes when a directory does.
type stamp struct {
	ino       uint64
	sec, nsec int64
}

func stampOf(st *unix.Stat_t) stamp { return stamp{st.Ino, st.Ctim.Sec, st.Ctim.Nsec} }

// settled reports whether a later change would show.
func (s stamp) settled(now time.Time) bool { return now.Sub(time.Unix(s.sec, s.nsec)) > cacheAge }

// append adds it as text.
func (s stamp) append(b []byte) []byte {
	b = append(strconv.AppendUint(b, s.ino, 10), ':')
	b = append(strconv.AppendInt(b, s.sec, 10), '.')
	return strconv.AppendInt(b, s.nsec, 10)
}

// readCache returns the lines of a cache, each a stamp, a name and a record.
func (s *Store) readCache(file string) ([]byte, error) {
	data, err := readFile(s.path(file), maxCache)
	if err != nil {
		return nil, err
	}
	head, lines, ok := bytes.Cut(data, []byte{'\n'})
	if !ok || string(head) != cacheHead(lines) {
		return nil, errCache
	}
	return lines, nil
}

func cacheHead(lines []byte) string {
	return fmt.Sprintf("loper 1 %08x", crc32.Checksum(lines, crc32.MakeTable(crc32.Castagnoli)))
}

// writeCache keeps lines. It is only a help, so that nobody hears when it fails.
func (s *Store) writeCache(file string, lines []byte) {
	_ = atomicfile.Write(s.path(file), append([]byte(cacheHead(lines)+"\n"), lines...), 0o600, atomicfile.Volatile)
}

// appendLine adds a record, unless it has what would break the lines.
func appendLine(lines []byte, st stamp, name string, record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte{'\n'})
	if bytes.IndexByte(record, '\n') >= 0 || strings.ContainsAny(name, "\n\t") {
		return lines
	}
	lines = append(append(st.append(lines), '\t'), name...)
	return append(append(append(lines, '\t'), record...), '\n')
}

// cutLine takes a line apart.
func cutLine(lines []byte) (st []byte, name string, record, rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(lines, []byte{'\n'})
	a, b, ok1 := bytes.Cut(line, []byte{'\t'})
	n, record, ok2 := bytes.Cut(b, []byte{'\t'})
	return a, string(n), record, rest, ok && ok1 && ok2
}

// ListImages is Images for a list that somebody looks at.
func (s *Store) ListImages() ([]Image, error) {
	var all []Image
	var bad []error
	for _, alg := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		images, damaged, err := s.listImages(alg)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			bad = append(bad, err)
		}
		bad = append(bad, damaged.err())
		if all == nil {
			all = images // a thousand records are not copied
		} else {
			all = append(all, images...)
		}
	}
	return all, errors.Join(bad...)
}

func (s *Store) listImages(alg oci.Algorithm) ([]Image, damagedImages, error) {
	dir, err := os.Open(s.path(imageDir, alg.String()))
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	if len(names) < cacheFrom || alg != oci.SHA256 {
		return readImagesIn(dir, alg, names)
	}
	type cached struct{ stamp, record []byte }
	have := make(map[string]cached, len(names))
	lines, _ := s.readCache(imageCache)
	for st, name, record, rest, ok := cutLine(lines); ok; st, name, record, rest, ok = cutLine(rest) {
		have[name] = cached{st, record}
	}
	images, stamps, records := make([]Image, len(names)), make([]stamp, len(names)), make([][]byte, len(names))
	parallel(len(names), func(i int) {
		var st unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), names[i], &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return
		}
		stamps[i] = stampOf(&st)
		var text [64]byte
		if c := have[names[i]]; c.record != nil && bytes.Equal(c.stamp, stamps[i].append(text[:0])) {
			if id, err := oci.Parse(alg.String() + ":" + names[i]); err == nil {
				if img, err := asImage(id, c.record, nil); err == nil {
					images[i], records[i] = img, c.record
				}
			}
		}
	})
	var missed []string
	all := images[:0]
	for i := range images {
		if records[i] != nil {
			all = append(all, images[i])
		} else {
			missed = append(missed, names[i])
		}
	}
	if len(missed) == 0 {
		return all, nil, nil
	}
	fresh, bad, err := readImagesIn(dir, alg, missed)
	if len(missed) > len(names)/20 {
		s.cacheImages(dir, names, stamps, records)
	}
	return append(all, fresh...), bad, err
}

// cacheImages keeps the records that have not changed for a while, those that
// were not cached before read anew between two looks at their directory.
func (s *Store) cacheImages(dir *os.File, names []string, stamps []stamp, records [][]byte) {
	var lines []byte
	now, buf := time.Now(), make([]byte, 16<<10)
	for i, name := range names {
		if stamps[i].ino == 0 || !stamps[i].settled(now) {
			continue
		}
		record := records[i]
		if record == nil {
			var err error
			if record, err = readSmall(dir, name+"/"+imageFile, buf); err != nil {
				continue
			}
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || stampOf(&st) != stamps[i] {
				continue
			}
		}
		lines = appendLine(lines, stamps[i], name, record)
	}
	s.writeCache(imageCache, lines)
}

// ListNames is Names for a list that somebody looks at.
func (s *Store) ListNames() ([]Name, error) {
	dir, err := os.Open(s.path(nameDir))
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	defer dir.Close()
	before := stampNow(dir)
	if lines, err := s.readCache(nameCache); err == nil {
		if all, ok := cachedNames(lines, before.append(nil)); ok {
			return all, nil
		}
	}
	files, err := nameFiles(dir)
	if err != nil {
		return nil, err
	}
	keep := len(files) >= cacheFrom && before.settled(time.Now())
	records := make([][]byte, len(files))
	all, errs := make([]Name, len(files)), make([]error, len(files))
	bulk(dir, files, func(i int, data []byte, err error) {
		if all[i], errs[i] = asName(files[i], data, err); keep {
			records[i] = bytes.Clone(data)
		}
	})
	err = errors.Join(errs...)
	if keep && err == nil && stampNow(dir) == before {
		lines := []byte{}
		for i := range files {
			lines = appendLine(lines, before, files[i], records[i])
		}
		s.writeCache(nameCache, lines)
	}
	return sortNames(all), err
}

// cachedNames reads the names of a cache that was made of the directory as it is.
func cachedNames(lines, stamp []byte) ([]Name, bool) {
	var files []string
	var records [][]byte
	for len(lines) > 0 {
		st, file, record, rest, ok := cutLine(lines)
		if !ok || !bytes.Equal(st, stamp) {
			return nil, false
		}
		files, records, lines = append(files, file), append(records, record), rest
	}
	all, errs := make([]Name, len(files)), make([]error, len(files))
	parallel(len(files), func(i int) { all[i], errs[i] = asName(files[i], records[i], nil) })
	if len(all) == 0 || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return nil, false
	}
	return sortNames(all), true
}

func stampNow(f *os.File) stamp {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return stamp{}
	}
	return stampOf(&st)
}
