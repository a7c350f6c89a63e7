package cgroup

import (
	"math"
	"strconv"
	"strings"
)

// numberList reads a list such as 0-3,7 as the cpuset files have it. What makes no sense is left out.
func numberList(s string) []uint16 {
	var all []uint16
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			continue
		}
		for n := from; n <= to; n++ {
			all = append(all, uint16(n))
		}
	}
	return all
}

// pressure reads two lines of the form 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0'; nil without any.
func pressure(text string) *Pressure {
	if text == "" {
		return nil
	}
	p := &Pressure{}
	for line := range strings.Lines(text) {
		to := &p.Some
		switch {
		case strings.HasPrefix(line, "full "):
			to = &p.Full
		case !strings.HasPrefix(line, "some "):
			continue
		}
		for word := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(word, "=")
			share, _ := strconv.ParseFloat(value, 64)
			if math.IsNaN(share) || math.IsInf(share, 0) {
				share = 0 // JSON has no such numbers
			}
			switch key {
			case "avg10":
				to.Avg10 = share
			case "avg60":
				to.Avg60 = share
			case "avg300":
				to.Avg300 = share
			case "total":
				to.Total = number(value)
			}
		}
	}
	return p
}

// ioTable reads lines of the form '8:0 Read 512' or, without operations, '8:0 512'. Sums are left out.
func ioTable(text string) []IOEntry {
	var table []IOEntry
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 && len(f) != 3 {
			continue
		}
		e, ok := ioDevice(f[0])
		if !ok {
			continue
		}
		if len(f) == 3 {
			e.Op = f[1]
		}
		e.Value = number(f[len(f)-1])
		table = append(table, e)
	}
	return table
}

func ioDevice(s string) (e IOEntry, ok bool) {
	major, minor, ok := strings.Cut(s, ":")
	if !ok || major == "" {
		return e, false
	}
	return IOEntry{Major: number(major), Minor: number(minor)}, true
}

// sum adds up what a table has of one operation.
func sum(table []IOEntry, op string) (n uint64) {
	for _, e := range table {
		if e.Op == op {
			n += e.Value
		}
	}
	return n
}

// rdmaStats reads lines of the form 'mlx4_0 hca_handle=2 hca_object=max'.
func rdmaStats(current, limit string) map[string]RdmaStats {
	all := make(map[string]RdmaStats)
	each := func(text string, set func(r *RdmaStats, key string, n uint64)) {
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) == 0 {
				continue
			}
			r := all[f[0]]
			for _, word := range f[1:] {
				key, value, _ := strings.Cut(word, "=")
				set(&r, key, number(value))
			}
			all[f[0]] = r
		}
	}
	each(current, func(r *RdmaStats, key string, n uint64) {
		switch key {
		case "hca_handle":
			r.Handles = n
		case "hca_object":
			r.Objects = n
		}
	})
	each(limit, func(r *RdmaStats, key string, n uint64) {
		switch key {
		case "hca_handle":
			r.HandlesLimit = n
		case "hca_object":
			r.ObjectsLimit = n
		}
	})
	return all
}

// pageSizes finds the sizes of huge pages in the names of a group's files, hugetlb.2MB.max and the like.
func pageSizes(names []string, suffix string) (sizes []string) {
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "hugetlb.")
		if size, is := strings.CutSuffix(rest, suffix); ok && is && checkPageSize(size) == nil {
			sizes = append(sizes, size)
		}
	}
	return sizes
}
