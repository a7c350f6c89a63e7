// Package container is what an engine adds to a runtime: it turns settings and
// an image into config.json, starts the monitor that looks after the running
// container, and keeps names, volumes, ranges of user ids and records.
//
// State is files below Engine.Root and Engine.RunRoot. A container runs if and
// only if its monitor holds RunRoot/<id>/monitor.lock; nothing else remembers
// it. Every function that touches a container first repairs what a killed
// process left of it. Locks are flock on the container's own directory.
package container
