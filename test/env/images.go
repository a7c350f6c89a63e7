package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Busybox is an image of Debian's static busybox with a passwd file and the applets' links: about 2 MB. User "worker"
// has id 1000 and group "crew" id 2000.
var Busybox = sync.OnceValues(func() (*Image, error) {
	files, err := BusyboxFiles()
	if err != nil {
		return nil, err
	}
	return NewImage(RunConfig{
		Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}, Gzipped(Tar(files...))), nil
})

// BusyboxFiles are the tar entries of Busybox, for images that add to it.
func BusyboxFiles() ([]File, error) {
	path, err := staticBusybox()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := []File{
		{Name: "bin/"}, {Name: "bin/busybox", Body: string(program)},
		{Name: "dev/"}, {Name: "proc/"}, {Name: "sys/"}, {Name: "root/", Mode: 0o700}, {Name: "tmp/", Mode: 0o1777}, {Name: "etc/"}, {Name: "var/"},
		{Name: "home/"}, {Name: "home/worker/", UID: 1000, GID: 1000},
		{Name: "etc/passwd", Mode: 0o644, Body: "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n"},
		{Name: "etc/group", Mode: 0o644, Body: "root:x:0:\nworker:x:1000:\ncrew:x:2000:worker\n"},
	}
	applets, err := output(path, "--list")
	if err != nil {
		return nil, err
	}
	for _, applet := range strings.Fields(applets) {
		if applet != "busybox" {
			files = append(files, File{Name: "bin/" + applet, Link: "busybox", Type: '2'})
		}
	}
	return files, nil
}

func staticBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("needs the program busybox (package busybox-static)")
	}
	if out, err := exec.Command("ldd", path).CombinedOutput(); err == nil && strings.Contains(string(out), "=>") {
		return "", fmt.Errorf("needs a static busybox (package busybox-static)")
	}
	return path, nil
}

// Debian is an image of Debian bookworm made by mmdebstrap: about 60 MB compressed. It is kept in the cache directory
// and made anew when it is gone.
var Debian = sync.OnceValues(func() (*Image, error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	tarball := filepath.Join(dir, "debian-bookworm-minbase.tar")
	if !exists(tarball) {
		if _, err := exec.LookPath("mmdebstrap"); err != nil {
			return nil, fmt.Errorf("needs the program mmdebstrap")
		}
		temporary := tarball + ".part"
		var out []byte
		for range 3 { // a mirror may fail once
			out, err = exec.Command("mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", "bookworm", temporary).CombinedOutput()
			if err == nil {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("mmdebstrap: %w: %s", err, out)
		}
		if err := os.Rename(temporary, tarball); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(tarball)
	if err != nil {
		return nil, err
	}
	return NewImage(RunConfig{Cmd: []string{"bash"}}, Gzipped(data)), nil
})
