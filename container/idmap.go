package container

import (
	"fmt"

	"github.com/moby/sys/mountinfo"
)

// findMixed looks which of the recursive binds have something mounted below
// their source that cannot be id-mapped, such as the host's /proc below /.
// There only the source itself is mapped, so that the rest does not make the
// whole impossible: its files belong to nobody inside.
func (c *Container) findMixed(f *facts) error {
	if !f.idMapped() {
		return nil
	}
	for _, m := range c.Mounts {
		if m.Type != MountBind || m.NoRecursive || m.NoIDMap {
			continue
		}
		mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
			return i.Mountpoint == m.Source || !below(i.Mountpoint, m.Source) || canIDMap(i.FSType), false
		})
		if err != nil {
			return fmt.Errorf("bind %s: %w", m.Source, err)
		}
		if len(mounts) > 0 {
			if f.mixed == nil {
				f.mixed = make(map[string]bool)
			}
			f.mixed[m.Source] = true
		}
	}
	return nil
}

// canIDMap knows the file systems with FS_ALLOW_IDMAP for certain. For the
// source of a bind the kernel is asked; below it this is good enough.
func canIDMap(kind string) bool {
	switch kind {
	case "bcachefs", "btrfs", "ceph", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ntfs3", "squashfs", "tmpfs", "vfat", "xfs", "zfs":
		return true
	}
	return false
}
