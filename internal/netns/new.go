package netns

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
	"loper.run/launch"
)

// New makes a user namespace with all ids that the caller may map, and a network
// namespace that belongs to it. Both last as long as somebody has them open, or
// lives there.
func New() (user, network *os.File, err error) {
	uids, gids, err := userns.Mappings()
	if err != nil {
		return nil, nil, err
	}
	p := &launch.Program{Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWNET}
	p.Await("wait until the namespaces are open", 0)
	c, err := launch.Start(p, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	defer c.Abort()
	if err := userns.Write(c.Pid(), uids, gids); err != nil {
		return nil, nil, err
	}
	dir := "/proc/" + strconv.Itoa(c.Pid()) + "/ns/"
	if user, err = os.Open(dir + "user"); err != nil {
		return nil, nil, err
	}
	if network, err = os.Open(dir + "net"); err != nil {
		user.Close()
		return nil, nil, err
	}
	return user, network, nil
}
