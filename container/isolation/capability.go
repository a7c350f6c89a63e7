package isolation

import (
	"math/bits"
	"strconv"
	"strings"
)

// capabilityNames are the kernel's, by number (linux/capability.h).
var capabilityNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
	"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
	"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
	"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
	"checkpoint_restore",
}

// capabilities turns a mask in hexadecimal into names, a few to a line.
func capabilities(mask string) string {
	set, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return "unknown"
	}
	if set == 0 {
		return "none"
	}
	// What lacks a few of all is told by those few.
	all := uint64(1)<<len(capabilityNames) - 1
	switch missing := all &^ set; {
	case set&^all != 0:
	case missing == 0:
		return "all " + strconv.Itoa(len(capabilityNames))
	case bits.OnesCount64(missing) <= 5:
		return "all but " + list(missing)
	}
	return list(set)
}

// most describes the bounding set, beyond which no program here gets.
func most(bounding, effective string) string {
	if bounding == effective {
		return "the same"
	}
	return capabilities(bounding)
}

func list(set uint64) string {
	var lines []string
	line := ""
	for i := range 64 {
		if set&(1<<i) == 0 {
			continue
		}
		name := strconv.Itoa(i)
		if i < len(capabilityNames) {
			name = capabilityNames[i]
		}
		if len(line)+len(name) > 60 {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += name
	}
	return strings.Join(append(lines, line), "\n")
}
