package cgroup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxAttached is how many device programs of one group are looked at; the kernel allows 64.
const maxAttached = 64

// setDeviceFilter makes p the only device program of the group whose directory is open. A group in use is never
// without one: a single program is replaced in one step, several are taken off after the new one is on.
func setDeviceFilter(dir int, p []insn) error {
	prog, err := loadDeviceFilter(p)
	if err != nil {
		if errors.Is(err, unix.EPERM) && inUserNamespace() {
			return nil // no rights for BPF there, and none to make or mount device nodes either
		}
		return fmt.Errorf("load the device filter: %w", err)
	}
	defer unix.Close(prog)
	// bpf(2) takes no O_PATH descriptor.
	target, err := openIn(dir, "", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	old, err := attachedFilters(target)
	if err != nil {
		return fmt.Errorf("list the device filters: %w", err)
	}
	defer func() {
		for _, fd := range old {
			unix.Close(fd)
		}
	}()
	replace := 0
	flags := uint32(unix.BPF_F_ALLOW_MULTI)
	if len(old) == 1 {
		replace, flags = old[0], flags|unix.BPF_F_REPLACE
	}
	if err := attachFilter(unix.BPF_PROG_ATTACH, target, prog, flags, replace); err != nil {
		return fmt.Errorf("attach the device filter: %w", err)
	}
	if len(old) > 1 {
		for _, fd := range old {
			if err := attachFilter(unix.BPF_PROG_DETACH, target, fd, 0, 0); err != nil && err != unix.ENOENT {
				return fmt.Errorf("detach an old device filter: %w", err)
			}
		}
	}
	return nil
}

// loadDeviceFilter gives the program to the kernel, which verifies it.
func loadDeviceFilter(p []insn) (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	license := new([4]byte)
	copy(license[:], "GPL")
	pin.Pin(&p[0])
	pin.Pin(license)
	attr := struct {
		progType, insnCount uint32
		insns, license      uint64
		logLevel, logSize   uint32
		logBuf              uint64
		kernVersion, flags  uint32
		name                [16]byte
	}{
		progType: unix.BPF_PROG_TYPE_CGROUP_DEVICE, insnCount: uint32(len(p)),
		insns: address(unsafe.Pointer(&p[0])), license: address(unsafe.Pointer(license)),
		name: [16]byte{'l', 'o', 'p', 'e', 'r', '_', 'd', 'e', 'v'},
	}
	for try := 0; ; try++ {
		// A signal interrupts the verifier; Go's own scheduler sends some.
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err != unix.EAGAIN || try == 10 {
			return fd, err
		}
	}
}

// attachedFilters opens the device programs that the group itself has.
func attachedFilters(target int) (fds []int, err error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ids := new([maxAttached]uint32)
	pin.Pin(ids)
	attr := struct {
		target, attachType, queryFlags, attachFlags uint32
		ids                                         uint64
		count, pad                                  uint32
	}{target: uint32(target), attachType: unix.BPF_CGROUP_DEVICE, ids: address(unsafe.Pointer(ids)), count: maxAttached}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, err
	}
	for _, id := range ids[:min(attr.count, maxAttached)] {
		attr := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err == unix.ENOENT {
			continue
		} else if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func attachFilter(cmd, target, prog int, flags uint32, replace int) error {
	attr := struct{ target, prog, attachType, flags, replace uint32 }{
		uint32(target), uint32(prog), unix.BPF_CGROUP_DEVICE, flags, uint32(replace)}
	_, err := bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// bpf is the one system call that golang.org/x/sys/unix has no function for. Descriptors come back close-on-exec.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func address(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// inUserNamespace reports whether this process lacks the machine's own user namespace.
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return os.Geteuid() != 0 || err == nil && (len(f) != 3 || f[2] != "4294967295")
}
