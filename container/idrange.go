package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Containers that root starts get a range of ids of their own each, above what
// distributions give to people, services and systemd-nspawn, and below 2^31,
// where some programs take ids for negative numbers.
const (
	rangeSize  = 65536
	rangeFirst = 0x70000000
	rangeEnd   = 2147352576
	rangeCount = (rangeEnd - rangeFirst) / rangeSize
)

// noRange is the number of the range of a container that has none.
const noRange = -1

// takeRange claims the lowest free range.
func (e *Engine) takeRange(id string) (int, error) {
	entries, err := os.ReadDir(e.path(idRangeDir))
	if err != nil {
		return noRange, err
	}
	taken := make(map[string]bool, len(entries))
	for _, entry := range entries {
		taken[entry.Name()] = true
	}
	for n := range rangeCount {
		key := strconv.Itoa(n)
		if taken[key] {
			continue
		}
		_, err := e.take(idRangeDir, key, id)
		if !errors.Is(err, os.ErrExist) {
			return n, err
		}
	}
	if err := e.sweep(idRangeDir, nil); err != nil {
		return noRange, err
	}
	return noRange, fmt.Errorf("all %d ranges of user ids are taken by containers: remove some", rangeCount)
}

// rangeMapping maps the container's ids from 0 to range n.
func rangeMapping(n int) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(rangeFirst + n*rangeSize), Size: rangeSize}}
}
