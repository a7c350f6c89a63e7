package network

import (
	"os"

	"loper.run/internal/userns"
)

// HostNamespace is the network namespace that bridges, the host's ends of
// containers' interfaces and rules are in; nil: the caller's own.
var HostNamespace *os.File

// HostGone tells that there is no such namespace: an ordinary user's, when none
// of the user's containers has a network. The caller's own is not for them.
func HostGone() bool { return HostNamespace == nil && userns.Rootless() }
