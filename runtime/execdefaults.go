package runtime

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// withDefaults is a process of exec with what it leaves open: as with other
// runtimes, its confinement and its standing with the kernel are the
// container's then. (A user, a terminal and what follows from them are never
// left open.)
func withDefaults(p specs.Process, container *specs.Process) *specs.Process {
	if container == nil {
		return &p
	}
	if p.Capabilities == nil {
		p.Capabilities = container.Capabilities
	}
	if p.ApparmorProfile == "" {
		p.ApparmorProfile = container.ApparmorProfile
	}
	if p.SelinuxLabel == "" {
		p.SelinuxLabel = container.SelinuxLabel
	}
	if len(p.Rlimits) == 0 {
		p.Rlimits = container.Rlimits
	}
	if p.OOMScoreAdj == nil {
		p.OOMScoreAdj = container.OOMScoreAdj
	}
	if p.IOPriority == nil {
		p.IOPriority = container.IOPriority
	}
	if p.Scheduler == nil {
		p.Scheduler = container.Scheduler
	}
	if p.ExecCPUAffinity == nil {
		p.ExecCPUAffinity = container.ExecCPUAffinity
	}
	return &p
}
