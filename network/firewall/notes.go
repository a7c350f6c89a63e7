package firewall

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"loper.run/internal/nft"
	"loper.run/network"
)

// notes are what people should know of what the host's firewall has to do with a
// container, a line each. What was told once since the machine started is not
// told again.
func (s *session) notes(found HostRules, sb *network.Sandbox) ([]string, error) {
	list, err := s.legacyNote(sb)
	if err != nil {
		return nil, err
	}
	if asks(sb) && len(found.Input) > 0 {
		closed, err := s.unnamed(found, sb)
		if err != nil {
			return nil, err
		}
		if closed, err = s.untold(found.By, closed); err != nil {
			return nil, err
		}
		if len(closed) > 0 {
			var names []string
			for _, p := range closed {
				names = append(names, portName(p))
			}
			list = append(list, fmt.Sprintf("the host's firewall (%s) decides about published ports and has no rule for %s; open with: %s, or publish with --publish-open",
				found.By, strings.Join(names, ", "), opening(found, closed[0])))
		}
	}
	if names := slices.Sorted(maps.Keys(leaving(sb))); len(names) > 0 && len(found.Closed) > 0 {
		told, err := s.tell("closed " + strings.Join(names, " "))
		if err != nil {
			return nil, err
		}
		if !told {
			list = append(list, fmt.Sprintf("the host's firewall (%s) may stop what containers send, and lets nobody else change that; if it does: %s", found.By, trusting(found, names[0])))
		}
	}
	return list, nil
}

// leaving are the bridges by which a container's packets leave its networks.
func leaving(sb *network.Sandbox) map[string]bool {
	names := map[string]bool{}
	for _, e := range bridged(sb) {
		if !e.Internal {
			names[e.Link] = true
		}
	}
	return names
}

// unnamed are a container's ports that no rule of the host's firewall lets in by
// their number. Others, as for ranges or senders, are not understood.
func (s *session) unnamed(found HostRules, sb *network.Sandbox) ([]network.Port, error) {
	var closed []network.Port
	for _, p := range sb.Ports {
		if !p.Host.IsLoopback() {
			closed = append(closed, p)
		}
	}
	seen := map[string]bool{}
	for _, c := range found.Input {
		if len(closed) == 0 || seen[c.Table.String()] {
			continue
		}
		seen[c.Table.String()] = true
		rules, err := s.conn.Rules(nft.Chain{Table: c.Table})
		if err != nil {
			return nil, err
		}
		closed = slices.DeleteFunc(closed, func(p network.Port) bool {
			return slices.ContainsFunc(rules, func(r nft.Rule) bool { return r.Opens(protocol(p.Protocol), p.HostPort) })
		})
	}
	return closed, nil
}

// untold are the ports that were not told yet.
func (s *session) untold(by string, ports []network.Port) ([]network.Port, error) {
	var list []network.Port
	for _, p := range ports {
		told, err := s.tell(by + " " + portName(p))
		if err != nil {
			return nil, err
		}
		if !told {
			list = append(list, p)
		}
	}
	return list, nil
}

// tell remembers that something is told, and reports whether it was before. It
// is forgotten with the machine's next start.
func (s *session) tell(what string) (told bool, err error) {
	path := filepath.Join(s.Store.Dir(""), "firewall.told")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if slices.Contains(strings.Split(string(data), "\n"), what) {
		return true, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(what + "\n")
	return false, errors.Join(err, f.Close())
}

func portName(p network.Port) string { return fmt.Sprintf("%d/%s", p.HostPort, p.Protocol) }

// opening is how to let a port in.
func opening(found HostRules, p network.Port) string {
	switch found.By {
	case "ufw":
		return "ufw allow " + portName(p)
	case "firewalld":
		return "firewall-cmd --permanent --add-port=" + portName(p) + " && firewall-cmd --reload"
	case "iptables":
		return fmt.Sprintf("iptables -I INPUT -p %s --dport %d -j ACCEPT", p.Protocol, p.HostPort)
	}
	return fmt.Sprintf("nft insert rule %s %s dport %d accept", found.Input[0], p.Protocol, p.HostPort)
}

// trusting is how to let a bridge's packets through.
func trusting(found HostRules, bridge string) string {
	if found.By == "firewalld" {
		return "firewall-cmd --permanent --zone=trusted --add-interface=" + bridge + " && firewall-cmd --reload"
	}
	return fmt.Sprintf("have %s accept what comes in by %s", found.Closed[0], bridge)
}
