package network

import "os"

// HostNamespace is the network namespace that bridges, the host's ends of
// containers' interfaces and rules are in; nil: the caller's own.
var HostNamespace *os.File
