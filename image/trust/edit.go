package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"loper.run/internal/atomicfile"
	"loper.run/internal/flock"
)

// Types of SetPolicy, in the words of podman image trust.
const (
	SetAccept   = "accept"
	SetReject   = "reject"
	SetGPG      = "signedBy"
	SetSigstore = "sigstoreSigned"
)

// SetPolicy makes the policy require that of a registry, a repository or an
// image, or by default with "default". The file is the one in use; an ordinary
// user who has none gets a copy of the system's. It returns the file's path.
func SetPolicy(path, registry, kind string, keys []string) (string, error) {
	list, err := newRequirements(kind, keys)
	if err != nil {
		return "", err
	}
	from := path
	if path == "" {
		if path, from, err = editable(); err != nil {
			return "", fmt.Errorf("signature policy: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("signature policy: %w", err)
	}
	lock, err := flock.Exclusive(filepath.Join(filepath.Dir(path), ".policy.json.lock"))
	if err != nil {
		return "", fmt.Errorf("signature policy: %w", err)
	}
	defer lock.Close()
	data, err := readTrusted(from)
	if errors.Is(err, os.ErrNotExist) {
		data, err = []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), nil
	}
	if err != nil {
		return "", fmt.Errorf("signature policy: %w", err)
	}
	if _, err := ParsePolicy(data); err != nil {
		return "", fmt.Errorf("signature policy %s: %w", from, err)
	}
	if data, err = setRequirements(data, registry, list); err != nil {
		return "", fmt.Errorf("signature policy %s: %w", path, err)
	}
	if err := atomicfile.Write(path, data, 0o644, atomicfile.Durable); err != nil {
		return "", fmt.Errorf("signature policy: %w", err)
	}
	return path, nil
}

// editable is where a policy is written, and where what stands in it comes from.
func editable() (path, from string, err error) {
	files := policyFiles()
	from = systemPolicy
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			from = file
			break
		}
	}
	if from != systemPolicy || os.Geteuid() == 0 {
		return from, from, nil
	}
	if files[0] == systemPolicy {
		return "", "", errors.New("there is no home directory to keep one in")
	}
	return files[0], from, nil
}

func newRequirements(kind string, keys []string) (any, error) {
	type object = map[string]any
	switch kind {
	case SetAccept, SetReject:
		if len(keys) > 0 {
			return nil, fmt.Errorf("type %s needs no key", kind)
		}
		if kind == SetAccept {
			kind = acceptAnything
		}
		return []object{{"type": kind}}, nil
	case SetGPG, SetSigstore:
		if len(keys) == 0 {
			return nil, fmt.Errorf("type %s needs a file with a public key", kind)
		}
	default:
		return nil, fmt.Errorf("'%s' is not accept, reject, signedBy or sigstoreSigned", kind)
	}
	r := object{"type": kind}
	for i, key := range keys {
		abs, err := filepath.Abs(key)
		if err != nil {
			return nil, err
		}
		body, err := readTrusted(abs)
		if err != nil {
			return nil, err
		}
		if kind == SetSigstore {
			if _, err := ParseKey(body); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		keys[i] = abs
	}
	r["keyPaths"] = keys
	if len(keys) == 1 { // which older programs understand too
		delete(r, "keyPaths")
		r["keyPath"] = keys[0]
	}
	if kind == SetGPG {
		r["keyType"] = "GPGKeys"
	} else {
		r["signedIdentity"] = object{"type": matchRepository}
	}
	return []object{r}, nil
}

// setRequirements changes one list and leaves the rest of the document as it is.
func setRequirements(data []byte, registry string, list any) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	body, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	if registry == "default" {
		doc["default"] = body
	} else {
		transports := map[string]map[string]json.RawMessage{}
		if raw, ok := doc["transports"]; ok {
			if err := json.Unmarshal(raw, &transports); err != nil {
				return nil, err
			}
		}
		if transports["docker"] == nil {
			transports["docker"] = map[string]json.RawMessage{}
		}
		transports["docker"][registry] = body
		if doc["transports"], err = json.Marshal(transports); err != nil {
			return nil, err
		}
	}
	compact, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if _, err := ParsePolicy(compact); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "    "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Files names what a requirement's keys are read from, for people.
func (r Requirement) Files() (all []string) {
	for _, s := range []source{r.Keys, r.Rekor} {
		all = append(all, s.Paths...)
	}
	if r.Fulcio != nil {
		all = append(all, r.Fulcio.CA.Paths...)
	}
	if r.PKI != nil {
		all = append(all, append(r.PKI.Roots.Paths, r.PKI.Intermediates.Paths...)...)
	}
	return all
}
