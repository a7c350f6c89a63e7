// Loper-net carries the traffic of an ordinary user's containers between their network namespace and the host. An ordinary
// user can make network namespaces, but no cable out of them: so this process has sockets on both sides. It is a program of
// its own for the TCP/IP stack that this takes, and there is one for each user, as long as one of the user's containers
// runs.
//
//   - Way out (package out): packets of a tun interface in the namespace end in a network stack here, and go on as the
//     user's own connections. pasta does the same, and takes this place where it is installed.
//   - Published ports (package ports): connections to ports of the host are carried to a container, with the client's
//     address as their source.
//
// A child of this process (package inside) has joined both namespaces: it makes the interface and the rules for the way
// back, and afterwards sockets, when it is asked for some.
//
// Package internal/netcontrol tells how it is started and spoken with. Once the descriptors that it was started with are
// set up, both processes give up what they don't need: new privileges, files, most system calls.
package main

func main() {}
