package container

import "loper.run/network/kernel"

// RepairNetwork puts the running container back on its networks: bridges that
// somebody deleted are made again. RepairRules comes after the last one.
func (c *Container) RepairNetwork() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if st, err := c.status(true); err != nil || !st.Alive() {
		if err == nil {
			err = ErrNotRunning
		}
		return err
	}
	n, err := c.Sandbox()
	if n == nil || err != nil {
		return err
	}
	return kernel.Repair(n)
}

// RepairRules makes the host's rules for all running containers again, after
// somebody flushed them.
func (e *Engine) RepairRules() error { return kernel.RepairRules(e.Networks) }
