package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Share says how files of the same contents are to be kept once.
type Share struct {
	// Hardlink makes files that are alike in everything but their name one file,
	// as every file system can. Without it, contents share their blocks, which
	// few file systems can, and of which nothing is seen.
	Hardlink bool `json:"hardlink,omitempty"`
	// Min is the size in bytes from which a file is worth it.
	Min int64 `json:"min"`
	// Skip are directories, two words below the top, to leave alone.
	Skip []string `json:"skip,omitempty"`
}

// Shared is what came of it.
type Shared struct {
	Files int64 `json:"files"`
	// Bytes is what the files hold that lost their own blocks.
	Bytes int64 `json:"bytes"`
}

// shareable is a file that may be kept once with others.
type shareable struct {
	path string
	ino  uint64
	like string // what else must be the same for a hard link
}

// ShareFiles makes files in the trees below dir, each of which is at
// <word>/<word>/diff, be kept once. Contents are compared byte by byte before:
// by the kernel, or by their digests and with nobody else writing.
func ShareFiles(dir *os.File, o Share) (Shared, error) {
	var done Shared
	sizes := map[int64][]shareable{}
	r := &recorder{list: make([]byte, 4<<10), value: make([]byte, 64<<10)}
	err := walk(dir, false, func(e entry) error {
		words := strings.SplitN(e.path, "/", 4)
		if len(words) < 4 || words[2] != "diff" || e.st.Mode&unix.S_IFMT != unix.S_IFREG || e.st.Size < max(o.Min, 1) || len(e.path) >= unix.PathMax || slices.Contains(o.Skip, words[0]+"/"+words[1]) {
			return nil
		}
		f := shareable{path: e.path, ino: e.st.Ino}
		if o.Hardlink {
			line, err := r.line(entry{path: "x", dir: e.dir, name: e.name, st: e.st})
			if err != nil {
				return err
			}
			f.like = string(line)
		}
		sizes[e.st.Size] = append(sizes[e.st.Size], f)
		return nil
	})
	if err != nil {
		return done, err
	}
	for size, files := range sizes {
		if err := shareSize(dir, files, size, o, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// shareSize shares among files of one size.
func shareSize(dir *os.File, files []shareable, size int64, o Share, done *Shared) error {
	if slices.IndexFunc(files, func(f shareable) bool { return f.ino != files[0].ino }) < 0 {
		return nil
	}
	first := map[string]shareable{} // by contents
	known := map[uint64]string{}    // digests, by inode
	for _, f := range files {
		sum, ok := known[f.ino]
		if !ok {
			var err error
			if sum, err = digestAt(dir, f.path); err != nil {
				return err
			}
			known[f.ino] = sum
		}
		src, ok := first[sum+f.like]
		if !ok {
			first[sum+f.like] = f
			continue
		}
		if src.ino == f.ino {
			continue
		}
		share := reflink
		if o.Hardlink {
			share = hardlink
		}
		err := share(dir, src.path, f.path, size)
		if errors.Is(err, unix.EMLINK) {
			first[sum+f.like] = f // its turn to get names
			continue
		}
		if err != nil {
			return fmt.Errorf("share %s with %s: %w", f.path, src.path, err)
		}
		done.Files++
		done.Bytes += size
	}
	return nil
}

func openBelow(dir *os.File, path string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func digestAt(dir *os.File, path string) (string, error) {
	f, err := openBelow(dir, path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return string(h.Sum(nil)), err
}

// reflink lets two files share blocks. The kernel compares them first.
func reflink(dir *os.File, from, to string, size int64) error {
	src, err := openBelow(dir, from, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := openBelow(dir, to, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer dst.Close()
	for at := int64(0); at < size; {
		r := unix.FileDedupeRange{Src_offset: uint64(at), Src_length: uint64(min(size-at, 16<<20)), Info: []unix.FileDedupeRangeInfo{{Dest_fd: int64(dst.Fd()), Dest_offset: uint64(at)}}}
		if err := unix.IoctlFileDedupeRange(int(src.Fd()), &r); err != nil {
			return os.NewSyscallError("FIDEDUPERANGE", err)
		}
		switch n := r.Info[0].Bytes_deduped; {
		case r.Info[0].Status < 0:
			return os.NewSyscallError("FIDEDUPERANGE", unix.Errno(-r.Info[0].Status))
		case r.Info[0].Status > 0:
			return errors.New("contents differ now")
		case n == 0:
			return nil
		default:
			at += int64(n)
		}
	}
	return nil
}

// hardlink makes to another name of from. The new name is made beside the tree,
// and takes its place in one step; the directory keeps its time.
func hardlink(dir *os.File, from, to string, _ int64) error {
	i := strings.LastIndexByte(to, '/')
	parent, err := openBelow(dir, to[:i], unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer parent.Close()
	src, err := openBelow(dir, from, unix.O_PATH)
	if err != nil {
		return err
	}
	defer src.Close()
	words := strings.SplitN(to, "/", 3)
	beside, err := openBelow(dir, words[0]+"/"+words[1], unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer beside.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(parent.Fd()), &st); err != nil {
		return err
	}
	const name = "link.tmp"
	_ = unix.Unlinkat(int(beside.Fd()), name, 0) // of one that was killed
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", src.Fd()), int(beside.Fd()), name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return os.NewSyscallError("linkat", err)
	}
	if err := unix.Renameat(int(beside.Fd()), name, int(parent.Fd()), to[i+1:]); err != nil {
		return os.NewSyscallError("renameat", err)
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(int(parent.Fd()), ".", []unix.Timespec{st.Atim, st.Mtim}, 0))
}
