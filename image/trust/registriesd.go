package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Places tells where the signatures of an image are (containers-registries.d(5)).
type Places struct {
	Lookaside string // URL that simple signatures are read below, "" for none
	Staging   string // URL that they are written below; "" is the same
	// Attachments tells whether cosign's signatures are read; only an explicit
	// no keeps them from being looked for.
	Attachments bool
}

// registriesDir is the user's directory if there is one, else the system's.
func registriesDir() string {
	if home, err := os.UserHomeDir(); err == nil {
		dir := filepath.Join(home, ".config/containers/registries.d")
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
	}
	return "/etc/containers/registries.d"
}

// defaultLookaside is the directory of signatures where nothing is configured.
func defaultLookaside() string {
	if os.Geteuid() == 0 {
		return "file:///var/lib/containers/sigstore"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return "file://" + filepath.Join(home, ".local/share/containers/sigstore")
}

// LoadPlaces reads registries.d for an image.
func LoadPlaces(img Image) (Places, error) { return loadPlaces(registriesDir(), img.scopes()) }

// PlacesOf reads registries.d for a scope of a policy, such as a repository.
func PlacesOf(scope string) (Places, error) { return loadPlaces(registriesDir(), namespaces(scope)) }

func loadPlaces(dir string, wanted []string) (Places, error) {
	byDefault, scopes, err := readRegistries(dir)
	if err != nil {
		return Places{}, fmt.Errorf("signature places: %w", err)
	}
	section, found := byDefault, byDefault != nil
	for _, scope := range wanted {
		if s, ok := scopes[scope]; ok && !strings.HasPrefix(scope, "*") {
			section, found = s, true
			break
		}
	}
	if !found {
		return Places{Lookaside: defaultLookaside(), Attachments: true}, nil
	}
	p := Places{Attachments: section["use-sigstore-attachments"] != "false"}
	p.Lookaside, p.Staging = section["lookaside"], section["lookaside-staging"]
	if p.Lookaside == "" {
		p.Lookaside = section["sigstore"]
	}
	if p.Staging == "" {
		p.Staging = section["sigstore-staging"]
	}
	return p, nil
}

// readRegistries merges the files of the directory: the default's section, and
// the sections by scope.
func readRegistries(dir string) (byDefault map[string]string, scopes map[string]map[string]string, err error) {
	scopes = map[string]map[string]string{}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, scopes, nil
	}
	if err != nil {
		return nil, nil, err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	origin := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := readTrusted(path)
		if err != nil {
			return nil, nil, err
		}
		doc, err := parseRegistries(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if doc.byDefault != nil {
			if byDefault != nil {
				return nil, nil, fmt.Errorf("%s: default-docker is in %s too", path, origin[""])
			}
			byDefault, origin[""] = doc.byDefault, path
		}
		for scope, section := range doc.scopes {
			if where := origin[scope]; where != "" && scope != "" {
				return nil, nil, fmt.Errorf("%s: %s is in %s too", path, scope, where)
			}
			scopes[scope], origin[scope] = section, path
		}
	}
	return byDefault, scopes, nil
}

type registriesFile struct {
	byDefault map[string]string
	scopes    map[string]map[string]string
}

func parseRegistries(data []byte) (f registriesFile, err error) {
	var doc yamlMap
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") { // JSON is YAML too
		doc, err = fromJSON(data)
	} else {
		doc, err = parseYAML(string(data))
	}
	if err != nil {
		return f, err
	}
	f.scopes = map[string]map[string]string{}
	for key, value := range doc {
		sections, ok := value.(yamlMap)
		switch {
		case !ok:
			return f, fmt.Errorf("%.60q is no mapping", key)
		case key == "default-docker":
			if f.byDefault, err = section(sections); err != nil {
				return f, fmt.Errorf("default-docker: %w", err)
			}
		case key == "docker":
			for scope, value := range sections {
				s, ok := value.(yamlMap)
				if !ok {
					return f, fmt.Errorf("docker: %.300q is no mapping", scope)
				}
				if f.scopes[scope], err = section(s); err != nil {
					return f, fmt.Errorf("docker: %.300s: %w", scope, err)
				}
			}
		}
	}
	return f, nil
}

// section checks the keys that matter here; others are left to who knows them.
func section(m yamlMap) (map[string]string, error) {
	s := map[string]string{}
	for key, value := range m {
		text, ok := value.(string)
		if !ok {
			if len(value.(yamlMap)) == 0 {
				continue // nothing is said
			}
			return nil, fmt.Errorf("%.60q is no text", key)
		}
		switch key {
		case "lookaside", "lookaside-staging", "sigstore", "sigstore-staging":
			if err := checkLookaside(text); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		case "use-sigstore-attachments":
			switch strings.ToLower(text) {
			case "true", "false":
				text = strings.ToLower(text)
			default:
				return nil, fmt.Errorf("%s is %.20q, not true or false", key, text)
			}
		}
		s[key] = text
	}
	return s, nil
}

func fromJSON(data []byte) (yamlMap, error) {
	m := yamlMap{}
	raw := map[string]*json.RawMessage{}
	if err := object(data, collect(raw)); err != nil {
		return nil, err
	}
	for key, value := range raw {
		body := strings.TrimSpace(string(*value))
		switch {
		case strings.HasPrefix(body, "{"):
			sub, err := fromJSON(*value)
			if err != nil {
				return nil, fmt.Errorf("%.60q: %w", key, err)
			}
			m[key] = sub
		case body == "true" || body == "false":
			m[key] = body
		default:
			var text string
			if err := json.Unmarshal(*value, &text); err != nil {
				return nil, fmt.Errorf("%.60q: %w", key, err)
			}
			m[key] = text
		}
	}
	return m, nil
}
