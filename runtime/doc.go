// Package runtime runs containers as the Open Container Initiative's runtime
// specification describes them.
//
// A config.json is compiled to a launch.Program by a pure function (Compile):
// the list of system calls that a new process makes until it is the container's
// own program. Create prepares what the program needs from its parent, starts
// it, and keeps a small directory of state; everything else about a container
// is asked of the kernel.
package runtime
