package container

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"loper.run/image/oci"
)

// OwnLabels is the prefix of labels whose meaning the engine gives. An image
// cannot set them: what an image says must never become an instruction.
const OwnLabels = "run.loper."

// Defaults is what an image may choose for its containers, after checking, as
// long as the caller chooses nothing else. It holds no more than what
// fromImage lists.
type Defaults struct {
	Env        []string          `json:"env,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"` // absolute, clean
	User       string            `json:"user,omitempty"`
	StopSignal string            `json:"stopSignal,omitempty"`
	Volumes    []string          `json:"volumes,omitempty"` // absolute, clean, sorted
	Ports      []string          `json:"ports,omitempty"`   // shown, never acted on
	Labels     map[string]string `json:"labels,omitempty"`
}

// fromImage is the only way from an image's config, which is foreign data, to
// a container. A field it does not name has no effect.
func fromImage(config oci.ImageConfig) (Defaults, error) {
	d := Defaults{
		Env: config.Env, Entrypoint: config.Entrypoint, Cmd: config.Cmd,
		User: config.User, StopSignal: config.StopSignal,
	}
	for _, v := range config.Env {
		if err := checkEnv(v); err != nil {
			return d, fmt.Errorf("image's environment: %w", err)
		}
	}
	for _, arg := range slices.Concat(config.Entrypoint, config.Cmd, []string{config.User, config.WorkingDir}) {
		if strings.ContainsRune(arg, 0) {
			return d, fmt.Errorf("image's config: %q has a zero byte", arg)
		}
	}
	if config.WorkingDir != "" {
		d.WorkingDir = path.Join("/", config.WorkingDir)
	}
	if config.StopSignal != "" {
		if _, err := ParseSignal(config.StopSignal); err != nil {
			return d, fmt.Errorf("image's stop signal: %w", err)
		}
	}
	for target := range config.Volumes {
		target, err := mountTarget(target)
		if err != nil {
			return d, fmt.Errorf("image's volumes: %w", err)
		}
		// A volume below these could only hide what isolates the container.
		for _, own := range []string{"/proc/", "/sys/", "/dev/"} {
			if strings.HasPrefix(target, own) {
				return d, fmt.Errorf("image's volumes: %s lies in the container's own %s", target, path.Clean(own))
			}
		}
		d.Volumes = append(d.Volumes, target)
	}
	slices.Sort(d.Volumes)
	d.Volumes = slices.Compact(d.Volumes)
	d.Ports = slices.Sorted(maps.Keys(config.ExposedPorts))
	for key, value := range config.Labels {
		if strings.HasPrefix(key, OwnLabels) {
			continue
		}
		if d.Labels == nil {
			d.Labels = make(map[string]string, len(config.Labels))
		}
		d.Labels[key] = value
	}
	return d, nil
}

// checkEnv wants NAME=value and nothing that a program would read otherwise.
func checkEnv(v string) error {
	name, _, ok := strings.Cut(v, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not NAME=value", v)
	}
	if strings.ContainsRune(v, 0) {
		return fmt.Errorf("%q has a zero byte", v)
	}
	return nil
}
