package main

import (
	"loper.run/container"
	"loper.run/image/layer"
)

// registerWorkers names what this program does in a second process of its own,
// inside an ordinary user's namespace.
func registerWorkers() {
	layer.Workers()
	container.Workers()
}
