package store

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// bulk reads many small files below an open directory, on all processors: use
// gets each one's bytes, which are good until it returns, and its number.
// Files that are not there are skipped, and any that cannot be read so simply
// is left to readFile.
func bulk(dir *os.File, files []string, use func(i int, data []byte, err error)) {
	buffers := sync.Pool{New: func() any { return new([16 << 10]byte) }}
	parallel(len(files), func(i int) {
		buf := buffers.Get().(*[16 << 10]byte)
		defer buffers.Put(buf)
		if data, err := readSmall(dir, files[i], buf[:]); !errors.Is(err, os.ErrNotExist) {
			use(i, data, err)
		}
	})
}

// parallel calls do with each number below n, on all processors.
func parallel(n int, do func(i int)) {
	const batch = 16
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		wg.Go(func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				for i := from; i < min(from+batch, n); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}

// readSmall reads a file with as few calls as there can be.
func readSmall(dir *os.File, file string, buf []byte) ([]byte, error) {
	fd, err := unix.Openat(int(dir.Fd()), file, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		n, rerr := unix.Read(fd, buf)
		unix.Close(fd)
		if rerr == nil && n < len(buf) {
			return buf[:n], nil
		}
	}
	if err == unix.ENOENT {
		return nil, os.ErrNotExist
	}
	return readFile(dir.Name()+"/"+file, maxRecord)
}
