package main

import (
	"loper.run/container"
	"loper.run/image/layer"
	"loper.run/image/overlay"
	"loper.run/image/pack"
)

// registerWorkers names what this program does in a second process of its own,
// inside an ordinary user's namespace.
func registerWorkers() {
	layer.Workers()
	pack.Workers()
	overlay.Workers()
	container.Workers()
}
