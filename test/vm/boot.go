package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"loper.run/test/env"
)

// image is the directory of the machine's disk and kernel, made at the first time.
func image(kernel string) (string, error) {
	begun := time.Now()
	cmd := exec.Command(filepath.Join(env.Source(), "test/vm/image"), kernel)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make the machine's image for Linux %s: %w", kernel, err)
	}
	progress("image for Linux %s after %.0f s", kernel, time.Since(begun).Seconds())
	return strings.TrimSpace(string(out)), nil
}

// boot starts the machine, prints the results of its tests and waits until it is off.
func boot(ctx context.Context, m machine, image string, j *job) error {
	begun := time.Now()
	initial := "/usr/local/sbin/vm-init"
	if m.systemd {
		initial = "/lib/systemd/systemd"
	}
	console := filepath.Join(j.dir, "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		// Emulated also where there is /dev/kvm: inside of another virtual machine that often only seems to work.
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nodefaults", "-no-reboot", "-display", "none",
		"-kernel", filepath.Join(image, "vmlinuz"),
		"-append", "console=ttyS0 quiet panic=-1 root=/dev/nvme0n1 rootfstype=ext4 rw systemd.show_status=0 init="+initial,
		// The only NVMe disk, whose driver is in the kernel: two would change names. What is written to it is thrown away.
		"-drive", "file="+filepath.Join(image, "root.ext4")+",if=none,id=root,format=raw,snapshot=on", "-device", "nvme,drive=root,serial=root",
		"-drive", "file="+j.disk()+",if=none,id=job,format=raw,readonly=on", "-device", "virtio-blk,drive=job,serial=job",
		"-device", "virtio-serial", "-chardev", "file,id=out,path=/dev/stdout", "-device", "virtserialport,chardev=out,name=job",
		"-serial", "file:"+console,
	)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended, readErr := results(out, os.Stdout, m)
	if readErr != nil {
		_ = cmd.Process.Kill() // nobody would read the rest
	}
	err = cmd.Wait()
	switch {
	case readErr != nil:
		return readErr
	case ctx.Err() != nil:
		err = errors.New("it took too long")
	case err == nil && !ended:
		err = errors.New("it died")
	case err == nil:
		progress("Linux %s: %.0f s", m, time.Since(begun).Seconds())
		return nil
	}
	return fmt.Errorf("the virtual machine: %w\n%s%s", err, &said, tail(console, 30))
}

// tail is the end of the kernel's console.
func tail(path string, lines int) string {
	text, _ := os.ReadFile(path) // no console, no last words
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
