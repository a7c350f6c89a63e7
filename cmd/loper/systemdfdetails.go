package main

import (
	"fmt"
	"time"

	"github.com/docker/go-units"

	"loper.run/container"
)

// dfDetails is everything that `system df --verbose` shows, with docker's names.
type dfDetails struct {
	Images     []imageRow
	Containers []psRow
	Volumes    []volumeRow
	BuildCache []struct{}
}

// dfDetails prints each image, container and volume with what it takes.
func (c *cli) dfDetails(u *container.DiskUsage, format string) error {
	d := newDfDetails(u, time.Now())
	if format != "" && format != "table" {
		return c.printOne(format, d)
	}
	fmt.Fprint(c.out, "Images space usage:\n\n")
	images := listing[imageRow]{Header: imageHeader, Columns: func(r imageRow) []string {
		return []string{r.Repository, r.Tag, r.ID, r.CreatedSince, r.Size, r.SharedSize, r.UniqueSize, r.Containers}
	}}
	if err := images.print(c.out, d.Images); err != nil {
		return err
	}
	fmt.Fprint(c.out, "\nContainers space usage:\n\n")
	containers := listing[psRow]{Header: psHeader, Columns: func(r psRow) []string {
		return []string{r.ID, r.Image, r.Command, r.LocalVolumes, r.Size, r.RunningFor, r.Status, r.Names}
	}}
	if err := containers.print(c.out, d.Containers); err != nil {
		return err
	}
	fmt.Fprint(c.out, "\nLocal Volumes space usage:\n\n")
	volumes := listing[volumeRow]{Header: volumeRow{Name: "VOLUME NAME", Links: "LINKS", Size: "SIZE"}, Columns: func(r volumeRow) []string {
		return []string{r.Name, r.Links, r.Size}
	}}
	if err := volumes.print(c.out, d.Volumes); err != nil {
		return err
	}
	fmt.Fprint(c.out, "\nBuild cache usage: 0B\n\n")
	return nil
}

func newDfDetails(u *container.DiskUsage, now time.Time) dfDetails {
	d := dfDetails{Images: []imageRow{}, Containers: []psRow{}, Volumes: []volumeRow{}, BuildCache: []struct{}{}}
	size := func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 4) }
	for _, img := range u.Images.Images {
		for _, r := range imageRows(img.Image, nil, false, false, now) {
			r.Size, r.SharedSize, r.UniqueSize = size(img.Shared+img.Unique), size(img.Shared), size(img.Unique)
			r.Containers = fmt.Sprint(len(img.Users))
			d.Images = append(d.Images, r)
		}
	}
	for _, ctr := range u.Containers {
		r := newPsRow(listed{Container: ctr.Container, status: ctr.Status}, false, now)
		r.Size = size(ctr.Disk + ctr.Logs)
		d.Containers = append(d.Containers, r)
	}
	for _, v := range u.Volumes {
		d.Volumes = append(d.Volumes, volumeRow{Driver: "local", Scope: "local", Availability: "N/A", Group: "N/A", Status: "N/A",
			Name: v.Name, Labels: labelText(v.Labels), Links: fmt.Sprint(len(v.Users)), Mountpoint: v.Mountpoint, Size: size(v.Disk)})
	}
	return d
}
