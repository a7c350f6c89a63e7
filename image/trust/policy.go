package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxPolicy is how large a policy or a key file may be, in bytes.
const maxPolicy = 4 << 20

// Policy is policy.json (containers-policy.json(5)).
type Policy struct {
	Path string // of the file
	// Default holds for images that no scope matches.
	Default []Requirement
	// Transports holds requirements by transport, then by scope; the scope ""
	// is the transport's own default.
	Transports map[string]map[string][]Requirement
}

// systemPolicy is where an administrator puts the policy for all users.
const systemPolicy = "/etc/containers/policy.json"

// policyFiles lists where the policy may be; the first that exists is the one.
func policyFiles() []string {
	if home, err := os.UserHomeDir(); err == nil {
		return []string{filepath.Join(home, ".config/containers/policy.json"), systemPolicy}
	}
	return []string{systemPolicy}
}

// LoadPolicy reads the policy at path, or with "" the user's or else the
// system's. Without any it returns nil.
func LoadPolicy(path string) (*Policy, error) {
	files := []string{path}
	if path == "" {
		files = policyFiles()
	}
	for _, file := range files {
		data, err := readTrusted(file)
		if path == "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("signature policy: %w", err)
		}
		p, err := ParsePolicy(data)
		if err != nil {
			return nil, fmt.Errorf("signature policy %s: %w", file, err)
		}
		p.Path = file
		return p, nil
	}
	return nil, nil
}

// readTrusted reads a file that decides about trust. What everybody may write
// decides nothing.
func readTrusted(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if st.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%s can be written by everybody: run chmod o-w %s", path, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPolicy {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPolicy)
	}
	return data, nil
}

// ParsePolicy reads a policy. Unknown, doubled and contradictory fields are
// errors, as they are in Podman.
func ParsePolicy(data []byte) (*Policy, error) {
	p := &Policy{Transports: map[string]map[string][]Requirement{}}
	var byDefault requirements
	var transports json.RawMessage
	err := object(data, func(key string) any {
		switch key {
		case "default":
			return &byDefault
		case "transports":
			return &transports
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if byDefault == nil {
		return nil, errors.New("field \"default\" is missing")
	}
	p.Default = byDefault
	if transports == nil {
		return p, nil
	}
	byTransport := map[string]*json.RawMessage{}
	if err := object(transports, collect(byTransport)); err != nil {
		return nil, fmt.Errorf("transports: %w", err)
	}
	for transport, raw := range byTransport {
		scopes := map[string]*json.RawMessage{}
		if err := object(*raw, collect(scopes)); err != nil {
			return nil, fmt.Errorf("transports: %q: %w", transport, err)
		}
		p.Transports[transport] = make(map[string][]Requirement)
		for scope, raw := range scopes {
			if err := checkScope(transport, scope); err != nil {
				return nil, fmt.Errorf("transports: %q: scope %q: %w", transport, scope, err)
			}
			var list requirements
			if err := json.Unmarshal(*raw, &list); err != nil {
				return nil, fmt.Errorf("transports: %q: scope %q: %w", transport, scope, err)
			}
			if list == nil {
				return nil, fmt.Errorf("transports: %q: scope %q: there are no requirements", transport, scope)
			}
			p.Transports[transport][scope] = list
		}
	}
	return p, nil
}

// collect takes any field, for object.
func collect(into map[string]*json.RawMessage) func(string) any {
	return func(key string) any {
		into[key] = new(json.RawMessage)
		return into[key]
	}
}

// requirements is a list that must not be empty.
type requirements []Requirement

func (r *requirements) UnmarshalJSON(data []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("there are no requirements")
	}
	*r = make(requirements, len(list))
	for i, raw := range list {
		if err := (*r)[i].parse(raw); err != nil {
			return fmt.Errorf("requirement %d: %w", i+1, err)
		}
	}
	return nil
}

// For returns what the policy requires of an image, the most specific scope
// winning, and that scope. decided is false where all there is to say is that a
// default accepts anything: nobody had this image in mind.
func (p *Policy) For(img Image) (list []Requirement, scope string, decided bool) {
	if p == nil {
		return nil, "", false
	}
	if scopes, ok := p.Transports[img.Transport]; ok {
		for _, scope := range img.scopes() {
			if list, ok := scopes[scope]; ok && scope != "" {
				return list, scope, true
			}
		}
		if list, ok := scopes[""]; ok {
			return list, "", !acceptAll(list)
		}
	}
	return p.Default, "", !acceptAll(p.Default)
}

func acceptAll(list []Requirement) bool {
	for _, r := range list {
		if r.Type != acceptAnything {
			return false
		}
	}
	return true
}
