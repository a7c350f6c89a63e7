package main

import "loper.run/runtime"

func pauseCommand() command {
	return byID("pause", "Stop all processes of a container for a while", (*runtime.Container).Pause)
}
