package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"

	"loper.run/container"
)

// psRow is a line of `loper ps`, with docker's names.
type psRow struct {
	Command      string
	CreatedAt    string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Ports        string
	RunningFor   string
	Size         string
	State        string
	Status       string

	labels map[string]string
}

// Label returns the value of one label, for templates.
func (r psRow) Label(name string) string {
	if r.ID == psHeader.ID {
		return name
	}
	return r.labels[name]
}

var psHeader = psRow{
	Command: "COMMAND", CreatedAt: "CREATED AT", ID: "CONTAINER ID", Image: "IMAGE", Labels: "LABELS",
	LocalVolumes: "LOCAL VOLUMES", Mounts: "MOUNTS", Names: "NAMES", Networks: "NETWORKS", Ports: "PORTS",
	RunningFor: "CREATED", Size: "SIZE", State: "STATE", Status: "STATUS",
}

func newPsRow(l listed, whole bool, now time.Time) psRow {
	r := psRow{
		Command:    commandText(l.Argv(), whole),
		CreatedAt:  l.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		ID:         shortID(l.ID, whole),
		Image:      l.ImageName,
		Labels:     labelText(l.Labels()),
		Names:      l.Name,
		Networks:   strings.Join(l.Settings.NetworkNames(), ","),
		Ports:      portsText(l.ports),
		RunningFor: ago(l.Created, now),
		State:      string(l.status.State),
		Status:     statusText(l.status, now),
		labels:     l.Labels(),
	}
	var mounts []string
	volumes := 0
	for _, m := range l.Record.Mounts {
		if m.Type == container.MountVolume {
			volumes++
		}
		if m.Source == "" {
			continue
		}
		if whole {
			mounts = append(mounts, m.Source)
		} else {
			mounts = append(mounts, ellipsis(m.Source, 15))
		}
	}
	r.Mounts, r.LocalVolumes = strings.Join(mounts, ","), fmt.Sprint(volumes)
	return r
}

// labelText is labels as one sorted line.
func labelText(labels map[string]string) string {
	words := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, k+"="+labels[k])
	}
	return strings.Join(words, ",")
}

// sizeText is what a container wrote, and that with its image.
func sizeText(ctr *container.Container) (string, error) {
	written, whole, err := ctr.Size()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (virtual %s)", units.HumanSizeWithPrecision(float64(written), 3), units.HumanSizeWithPrecision(float64(whole), 3)), nil
}
