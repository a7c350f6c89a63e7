package firewall

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"loper.run/network"
)

// legacyNote tells once of rules of the kernel's older packet filter. They decide
// about published ports as all others do; but what they do with packets that are
// forwarded is nothing that netlink tells, or changes.
func (s *session) legacyNote(sb *network.Sandbox) ([]string, error) {
	var bridge string
	for name := range leaving(sb) {
		bridge = name
	}
	if bridge == "" || s.Host != nil { // what the kernel lists is of the caller's own namespace
		return nil, nil
	}
	var programs []string
	for list, program := range map[string]string{"ip_tables_names": "iptables-legacy", "ip6_tables_names": "ip6tables-legacy"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + list)
		if err == nil && slices.Contains(strings.Fields(string(data)), "filter") { // without the filter there is no list
			programs = append(programs, program)
		}
	}
	if len(programs) == 0 {
		return nil, nil
	}
	slices.Sort(programs)
	told, err := s.tell("legacy " + bridge)
	if told || err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("there are rules of %s that cannot be looked into; if containers get no answers: "+
		"%[2]s -I FORWARD -i %[3]s -j ACCEPT && %[2]s -I FORWARD -o %[3]s -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
		strings.Join(programs, ", "), programs[0], bridge)}, nil
}
