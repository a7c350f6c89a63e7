package main

import "loper.run/runtime"

func resumeCommand() command {
	return byID("resume", "Let a paused container go on", (*runtime.Container).Resume)
}
