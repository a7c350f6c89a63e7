package container

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// lookUpUser finds who spec (name|uid[:group|gid], "" for root) is, by the
// container's own accounts, and that user's home directory. A number is never
// taken for a name. groups are --group-add's.
func lookUpUser(spec string, groups []string, a accounts) (specs.User, string, error) {
	fail := func(err error) (specs.User, string, error) {
		return specs.User{}, "", fmt.Errorf("user %q: %w", spec, err)
	}
	if err := checkUser(spec); err != nil {
		return fail(err)
	}
	found, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, reader(a.passwd), reader(a.group))
	if err != nil {
		return fail(err)
	}
	added, err := user.GetAdditionalGroups(groups, reader(a.group))
	if err != nil {
		return fail(err)
	}
	slices.Sort(added)
	u := specs.User{}
	if u.UID, err = accountID(found.Uid); err != nil {
		return fail(err)
	}
	if u.GID, err = accountID(found.Gid); err != nil {
		return fail(err)
	}
	for _, gid := range slices.Concat(found.Sgids, added) {
		id, err := accountID(gid)
		if err != nil {
			return fail(err)
		}
		if !slices.Contains(u.AdditionalGids, id) {
			u.AdditionalGids = append(u.AdditionalGids, id)
		}
	}
	return u, homeOf(found.Home), nil
}

func reader(data []byte) io.Reader { return bytes.NewReader(data) }

// checkUser refuses what would parse as something else than it looks like.
func checkUser(spec string) error {
	name, group, hasGroup := strings.Cut(spec, ":")
	if hasGroup && group == "" {
		return fmt.Errorf("the group after the colon is missing")
	}
	for _, s := range []string{name, group} {
		if s != "" && (s[0] == '+' || s[0] == '-') {
			return fmt.Errorf("%q is neither a name nor a number", s)
		}
		if strings.ContainsAny(s, ":\n\x00") {
			return fmt.Errorf("%q has a character that no name has", s)
		}
	}
	return nil
}

// accountID refuses the numbers that the kernel reads as "unchanged" or that
// wrap around.
func accountID(id int) (uint32, error) {
	if id < 0 || id > math.MaxInt32 {
		return 0, fmt.Errorf("id %d is out of range", id)
	}
	return uint32(id), nil
}

// homeOf returns the home directory, "/" when the account's is unusable.
func homeOf(home string) string {
	if !path.IsAbs(home) || strings.ContainsAny(home, ":\n\x00") {
		return "/"
	}
	return home
}

// fit checks that the container has the ids its process asks for. Groups that
// only the container's /etc/group asks for are left out when it has not.
func fit(u *specs.User, asked []string, uids, gids []specs.LinuxIDMapping) error {
	if len(uids) == 0 {
		return nil
	}
	if !isMapped(u.UID, uids) {
		return unmapped("user", u.UID)
	}
	if !isMapped(u.GID, gids) {
		return unmapped("group", u.GID)
	}
	var kept []uint32
	for _, gid := range u.AdditionalGids {
		switch {
		case isMapped(gid, gids):
			kept = append(kept, gid)
		case slices.Contains(asked, strconv.Itoa(int(gid))):
			return unmapped("group", gid)
		}
	}
	u.AdditionalGids = kept
	return nil
}

func isMapped(id uint32, maps []specs.LinuxIDMapping) bool {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return true
		}
	}
	return false
}

func unmapped(what string, id uint32) error {
	return fmt.Errorf("%s id %d is outside the container's own range of ids (as root, --userns host has them all)", what, id)
}
