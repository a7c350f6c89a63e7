package main

import (
	"fmt"

	"github.com/docker/go-units"

	"loper.run/container"
)

// statsRow is a line of `loper stats`, with docker's names.
type statsRow struct {
	BlockIO   string
	CPUPerc   string
	Container string
	ID        string
	MemPerc   string
	MemUsage  string
	Name      string
	NetIO     string
	PIDs      string
}

var statsHeader = statsRow{
	BlockIO: "BLOCK I/O", CPUPerc: "CPU %", Container: "CONTAINER", ID: "CONTAINER ID", MemPerc: "MEM %",
	MemUsage: "MEM USAGE / LIMIT", Name: "NAME", NetIO: "NET I/O", PIDs: "PIDS",
}

func (r statsRow) columns() []string {
	return []string{r.ID, r.Name, r.CPUPerc, r.MemUsage, r.MemPerc, r.NetIO, r.BlockIO, r.PIDs}
}

// newStatsRow shows a measurement; nil is that of a container that does not
// run. cpu is in percent of one CPU.
func newStatsRow(st *container.Stats, cpu float64) statsRow {
	none := statsRow{BlockIO: "--", CPUPerc: "--", MemPerc: "--", MemUsage: "-- / --", NetIO: "--", PIDs: "--"}
	if st == nil {
		return none
	}
	if st.NoGroup {
		none.NetIO = inAndOut(st.NetReceived, st.NetSent)
		return none
	}
	share := 0.0
	if st.MemoryLimit > 0 {
		share = 100 * float64(st.MemoryUsage) / float64(st.MemoryLimit)
	}
	return statsRow{
		BlockIO:  inAndOut(st.BlockRead, st.BlockWritten),
		CPUPerc:  fmt.Sprintf("%.2f%%", cpu),
		MemPerc:  fmt.Sprintf("%.2f%%", share),
		MemUsage: fmt.Sprintf("%s / %s", units.BytesSize(float64(st.MemoryUsage)), units.BytesSize(float64(st.MemoryLimit))),
		NetIO:    inAndOut(st.NetReceived, st.NetSent),
		PIDs:     fmt.Sprint(st.PidsCurrent),
	}
}

func inAndOut(in, out uint64) string {
	return fmt.Sprintf("%s / %s", units.HumanSizeWithPrecision(float64(in), 3), units.HumanSizeWithPrecision(float64(out), 3))
}
