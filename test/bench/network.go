package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bridges measures what a network costs at a container's start.
func (b *bench) bridges() error {
	engines, stop, err := b.netEngines()
	if err != nil {
		return err
	}
	defer stop()
	var contenders []contender
	for _, e := range engines {
		with := e.run("--rm", e.image, "true")
		without := e.command("run", "--rm", "--network", "none", e.image, "true")
		without.name += " none"
		contenders = append(contenders, with, without)
	}
	all, err := inTurns(b.n, contenders)
	if err != nil {
		return err
	}
	cost := func(name string) time.Duration { return all[name].median() - all[name+" none"].median() }
	least := func(name string) time.Duration { return all[name].least() - all[name+" none"].least() }
	for _, e := range engines[1:] {
		b.add(row{what: "a bridge: run --rm IMAGE true, minus the same without network", ours: milliseconds(cost("loper")), theirs: milliseconds(cost(e.name)), peer: e.name,
			ratio: fmt.Sprintf("%.3f", float64(cost("loper"))/float64(cost(e.name))), best: fmt.Sprintf("%.3f", float64(least("loper"))/float64(least(e.name))), target: "≤ 5 ms"})
		b.compare("loper run --rm IMAGE true, on the default bridge", all, "loper", e.name, "≤ 0.067")
	}
	return b.hundred(engines[0])
}

// hundred starts a hundred containers on one bridge, with three ports each, one after the other.
func (b *bench) hundred(e *netEngine) error {
	var took times
	for i := range 100 {
		args := []string{"-d", "--name", fmt.Sprintf("hundred-%d", i)}
		for j := range 3 {
			args = append(args, "-p", fmt.Sprintf("%d:%d", 20000+3*i+j, 80+j))
		}
		begun := time.Now()
		if _, err := e.must(e.run(append(args, e.image, "sleep", "100000")...)); err != nil {
			return err
		}
		took = append(took, time.Since(begun))
	}
	defer e.removeAll()
	// One start says little: five at either end do.
	first, last := took[1:6].median(), took[95:].median()
	b.add(row{what: "run -d with 3 ports: the 96th to 100th container on one bridge", ours: milliseconds(last), peer: "the 2nd to 6th", theirs: milliseconds(first),
		ratio: fmt.Sprintf("%.2f", float64(last)/float64(first)), best: fmt.Sprintf("%.2f", float64(took[95:].least())/float64(took[1:6].least())), target: "≤ 1.3"})
	return nil
}

// traffic measures throughput and round trips: from container to container, to the host, and from outside through a
// published port; and the same over namespaces, cables and rules without any engine.
func (b *bench) traffic() error {
	engines, stop, err := b.netEngines()
	if err != nil {
		return err
	}
	defer stop()
	var all []*paths
	for _, e := range engines {
		p, err := b.paths(e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		defer p.stop()
		all = append(all, p)
	}
	plain, err := b.plain()
	if err != nil {
		return err
	}
	defer plain.stop()
	all = append(all, plain)
	for i, way := range ways {
		for _, m := range []struct {
			what, mode, arg string
			more            bool // is better
		}{{"throughput", "stream", "0.7", true}, {"round trip", "answers", "4000", false}} {
			results, err := b.measureWay(all, i, m.mode, m.arg)
			if err != nil {
				return err
			}
			b.compareTraffic(way, m.what, m.more, results)
		}
	}
	return nil
}

// measureWay measures all of them in turns on one way, those that have it.
func (b *bench) measureWay(all []*paths, way int, mode, arg string) (map[string][]float64, error) {
	results := map[string][]float64{}
	for round := range max(b.n/4, 1) {
		for k := range all {
			p := all[(k+round)%len(all)]
			if p.to[way] == "" {
				continue
			}
			value, err := p.measure(way, mode, arg)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", p.name, ways[way], err)
			}
			results[p.name] = append(results[p.name], value)
		}
	}
	return results, nil
}

var ways = [...]string{"container to container", "container to host", "outside to a published port"}

// Those of them that are spoken of by name.
const (
	toHost      = 1
	fromOutside = 2
)

// paths are the commands that send something along each of the ways.
type paths struct {
	name string
	ways [len(ways)]contender // to which mode, address and argument are added
	to   [len(ways)]string
	stop func()
}

func (p *paths) measure(way int, mode, arg string) (value float64, err error) {
	c := p.ways[way].with(mode, p.to[way], arg)
	var out string
	c.in.Do(func() { out, err = must(c.argv, c.environ...) })
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}

func (b *bench) compareTraffic(way, what string, more bool, results map[string][]float64) {
	b.addTraffic(way+": "+what, more, "loper", results, []string{"plain", "docker", "podman"})
}

// addTraffic adds a row for each peer that was measured.
func (b *bench) addTraffic(what string, more bool, ours string, results map[string][]float64, peers []string) {
	show := func(v float64) string {
		if more {
			return fmt.Sprintf("%.2f GB/s", v/1e9)
		}
		return fmt.Sprintf("%.1f µs", v/1e3)
	}
	median := func(name string) float64 { return slices.Sorted(slices.Values(results[name]))[len(results[name])/2] }
	best := func(name string) float64 {
		if more {
			return slices.Max(results[name])
		}
		return slices.Min(results[name])
	}
	for _, peer := range peers {
		if len(results[peer]) > 0 && len(results[ours]) > 0 {
			b.add(row{what: what, ours: show(median(ours)), theirs: show(median(peer)), peer: strings.Replace(peer, "plain", "plain veth and nftables", 1),
				ratio: fmt.Sprintf("%.2f", median(ours)/median(peer)), best: fmt.Sprintf("%.2f", best(ours)/best(peer)), target: trafficTarget(peer, more)})
		}
	}
}

// trafficTarget is how much of a peer's ours has to be.
func trafficTarget(peer string, more bool) string {
	switch {
	case peer == "podman":
		return ""
	case peer == "plain" && more:
		return "≥ 0.9"
	case peer == "plain":
		return "≤ 1.1"
	case more:
		return "≥ 1"
	}
	return "≤ 1"
}
