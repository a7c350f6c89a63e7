package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// noID is what system calls take for "leave it as it is": a user with that
// number would keep the one of the runtime.
const noID = ^uint32(0)

func validateUser(u specs.User, field string) error {
	switch {
	case u.UID == noID:
		return badField(field+".uid", "%d means 'none' to the kernel", u.UID)
	case u.GID == noID:
		return badField(field+".gid", "%d means 'none' to the kernel", u.GID)
	}
	for i, g := range u.AdditionalGids {
		if g == noID {
			return badField(fmt.Sprintf("%s.additionalGids[%d]", field, i), "%d means 'none' to the kernel", g)
		}
	}
	return nil
}

// checkMapped finds ids that the container's new user namespace has not got.
// (What a joined one has is only known once it is joined.)
func (c *compiler) checkMapped(u specs.User, field string) error {
	l := c.spec.Linux
	if !fresh(c.spec, specs.UserNamespace) || len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0 {
		return nil
	}
	const unmapped = "%d has no mapping in linux.%s"
	switch {
	case !mapped(l.UIDMappings, u.UID):
		return badField(field+".uid", unmapped, u.UID, "uidMappings")
	case !mapped(l.GIDMappings, u.GID):
		return badField(field+".gid", unmapped, u.GID, "gidMappings")
	case c.host.SetgroupsDenied:
		return nil // they are left out
	}
	for i, g := range u.AdditionalGids {
		if !mapped(l.GIDMappings, g) {
			return badField(fmt.Sprintf("%s.additionalGids[%d]", field, i), unmapped, g, "gidMappings")
		}
	}
	return nil
}
