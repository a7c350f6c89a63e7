// Package specjson reads and writes config.json by generated code. For the
// specification's types encoding/json would take about as long as everything else
// that happens before a container's first system call.
package specjson

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/internal/quickjson"
)

// The generated file mentions easyjson's root package only to use it; that one
// would link an HTTP client.
//
//go:generate go tool easyjson -no_std_marshalers -output_filename zconfig.go specjson.go
//go:generate sed -i -e "/^\teasyjson \"/d" -e "/_ easyjson.Marshaler/d" -e "1a //lint:file-ignore SA1019 deprecated fields are read all the same" zconfig.go

// config is the part of specs.Spec that concerns Linux.
//
//easyjson:json
type config struct {
	Version     string            `json:"ociVersion"`
	Process     *specs.Process    `json:"process,omitempty"`
	Root        *specs.Root       `json:"root,omitempty"`
	Hostname    string            `json:"hostname,omitempty"`
	Domainname  string            `json:"domainname,omitempty"`
	Mounts      []specs.Mount     `json:"mounts,omitempty"`
	Hooks       *specs.Hooks      `json:"hooks,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Linux       *specs.Linux      `json:"linux,omitempty"`
}

// Decode reads a config.json. The sections for other systems are skipped. The
// error gives an offset only; encoding/json explains mistakes better.
func Decode(data []byte) (*specs.Spec, error) {
	var c config
	if err := quickjson.Decode(data, &c); err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks, Annotations: c.Annotations, Linux: c.Linux,
	}, nil
}

// Encode writes a config.json without the sections for other systems.
func Encode(s *specs.Spec) ([]byte, error) {
	c := config{
		Version: s.Version, Process: s.Process, Root: s.Root, Hostname: s.Hostname, Domainname: s.Domainname,
		Mounts: s.Mounts, Hooks: s.Hooks, Annotations: s.Annotations, Linux: s.Linux,
	}
	return quickjson.Encode(c)
}
