package main

import "loper.run/runtime"

func startCommand() command {
	return byID("start", "Start a created container", func(c *runtime.Container) error {
		notify, err := listenNotify(c)
		if err != nil {
			return err
		}
		defer notify.close()
		if err := c.Start(); err != nil {
			return err
		}
		return notify.forward(c, true)
	})
}
