package runtime

import (
	"slices"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// memoryModes in the order of their numbers in linux/mempolicy.h.
var memoryModes = [...]specs.MemoryPolicyModeType{
	specs.MpolDefault, specs.MpolPreferred, specs.MpolBind, specs.MpolInterleave, specs.MpolLocal,
	specs.MpolPreferredMany, specs.MpolWeightedInterleave,
}

// memoryFlags in the order of their bits, from firstMemoryFlag on.
var memoryFlags = [...]specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes}

const firstMemoryFlag = 13

// memoryPolicy compiles linux.memoryPolicy, which the whole container inherits.
// The process is in its cgroup by then, which decides what nodes there are.
func (c *compiler) memoryPolicy() error {
	const field = "linux.memoryPolicy"
	m := c.spec.Linux.MemoryPolicy
	if m == nil {
		return nil
	}
	mode := slices.Index(memoryModes[:], m.Mode)
	if m.Mode == "" || mode < 0 {
		return badField(field+".mode", "unknown mode %q", m.Mode)
	}
	name, value := string(m.Mode), mode
	for _, f := range m.Flags {
		bit := slices.Index(memoryFlags[:], f)
		if bit < 0 {
			return badField(field+".flags", "unknown flag %q", f)
		}
		name, value = name+"|"+string(f), value|1<<(bit+firstMemoryFlag)
	}
	if slices.Contains(m.Flags, specs.MpolFRelativeNodes) && slices.Contains(m.Flags, specs.MpolFStaticNodes) {
		return badField(field+".flags", "%s and %s exclude each other", specs.MpolFRelativeNodes, specs.MpolFStaticNodes)
	}
	none := m.Mode == specs.MpolDefault || m.Mode == specs.MpolLocal
	var nodes idSet
	switch {
	case none && m.Nodes != "":
		return badField(field+".nodes", "%s takes none", m.Mode)
	case none, m.Nodes == "" && m.Mode == specs.MpolPreferred: // the node that the process runs on
	default:
		var err error
		if nodes, err = parseIDs(m.Nodes); err != nil {
			return badField(field+".nodes", "%w", err)
		}
	}
	op := launch.Op{Call: launch.SetMempolicy, Args: []launch.Arg{launch.Flags(value, name), launch.Int(0), launch.Int(0)}, Text: "set the memory policy " + name, Field: field}
	if m.Mode == specs.MpolWeightedInterleave {
		op.Text += ", which Linux 6.9 has,"
	}
	if len(nodes) > 0 {
		// The kernel leaves the last bit out.
		op.Args[1], op.Args[2] = launch.Bytes(nodes.bytes()), launch.Int(64*len(nodes)+1)
		op.Text += " on the nodes " + m.Nodes
	}
	c.add(op)
	return nil
}
