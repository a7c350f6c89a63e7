package trust

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Types of requirements.
const (
	acceptAnything  = "insecureAcceptAnything"
	reject          = "reject"
	signedBy        = "signedBy"
	signedBaseLayer = "signedBaseLayer"
	sigstoreSigned  = "sigstoreSigned"
)

// Requirement is one of those that an image must meet all of. Which fields it
// may have depends on its Type.
type Requirement struct {
	Type    string
	KeyType string // of signedBy
	// Keys are public keys: an OpenPGP keyring, or keys in PEM.
	Keys source
	// Identity says what a signature must claim to be of.
	Identity Identity
	Fulcio   *fulcio
	PKI      *pki
	// Rekor are keys of transparency logs, one of which must know the signature.
	Rekor source
}

// fulcio is an authority that certifies keys for people who log in somewhere.
type fulcio struct {
	CA            source
	Issuer, Email string
}

// pki is an ordinary authority whose certificates sign.
type pki struct {
	Roots, Intermediates source
	Email, Hostname      string
}

// source is where keys come from: files, or data in the policy itself.
type source struct {
	Paths  []string
	Datas  [][]byte
	fields int // how many fields spoke of it
}

// take reads one of the fields prefix+Path, Paths, Data and Datas, whichever
// key is; nil when it is none of them.
func (s *source) take(key, prefix string, several bool) any {
	var dest any
	switch {
	case key == prefix+"Path":
		dest = &onePath{s}
	case key == prefix+"Data":
		dest = &oneData{s}
	case key == prefix+"Paths" && several:
		dest = &s.Paths
	case key == prefix+"Datas" && several:
		dest = &s.Datas
	default:
		return nil
	}
	s.fields++
	return dest
}

func (s source) given() bool { return s.fields > 0 }

// check wants at most one field, and that it says something.
func (s source) check(name string) error {
	if s.fields > 1 {
		return fmt.Errorf("there may be only one of %sPath, %sPaths, %sData and %sDatas", name, name, name, name)
	}
	if s.fields == 1 && len(s.Paths) == 0 && len(s.Datas) == 0 {
		return fmt.Errorf("%s names no key", name)
	}
	for _, p := range s.Paths {
		if p == "" {
			return fmt.Errorf("%sPath is empty", name)
		}
	}
	return nil
}

// read returns the contents.
func (s source) read() (all [][]byte, err error) {
	for _, path := range s.Paths {
		data, err := readTrusted(path)
		if err != nil {
			return nil, fmt.Errorf("key of the signature policy: %w", err)
		}
		all = append(all, data)
	}
	return append(all, s.Datas...), nil
}

type onePath struct{ s *source }

func (o *onePath) UnmarshalJSON(data []byte) error {
	var path string
	err := json.Unmarshal(data, &path)
	o.s.Paths = append(o.s.Paths, path)
	return err
}

type oneData struct{ s *source }

func (o *oneData) UnmarshalJSON(data []byte) error {
	var body []byte
	err := json.Unmarshal(data, &body)
	o.s.Datas = append(o.s.Datas, body)
	return err
}

func (r *Requirement) parse(data []byte) error {
	var head struct{ Type string }
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	var identity, full, own json.RawMessage
	err := object(data, func(key string) any {
		if key == "type" {
			return &r.Type
		}
		switch head.Type {
		case signedBy:
			switch key {
			case "keyType":
				return &r.KeyType
			case "signedIdentity":
				return &identity
			case "keyPath", "keyPaths", "keyData":
				return r.Keys.take(key, "key", true)
			}
		case signedBaseLayer:
			if key == "baseLayerIdentity" {
				return &identity
			}
		case sigstoreSigned:
			switch key {
			case "fulcio":
				return &full
			case "pki":
				return &own
			case "signedIdentity":
				return &identity
			}
			if dest := r.Keys.take(key, "key", true); dest != nil {
				return dest
			}
			return r.Rekor.take(key, "rekorPublicKey", true)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.check(identity, full, own)
}

func (r *Requirement) check(identity, full, own json.RawMessage) error {
	switch r.Type {
	case acceptAnything, reject:
		return nil
	case signedBaseLayer:
		if identity == nil {
			return errors.New("baseLayerIdentity is missing")
		}
		return r.Identity.parse(identity)
	case signedBy, sigstoreSigned:
	default:
		return fmt.Errorf("%.60q is no type of a requirement", r.Type)
	}
	r.Identity = Identity{Type: matchRepoDigestOrExact}
	if identity != nil {
		if err := r.Identity.parse(identity); err != nil {
			return err
		}
	}
	if err := r.Keys.check("key"); err != nil {
		return err
	}
	if r.Type == signedBy {
		switch r.KeyType {
		case "GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs":
		default:
			return fmt.Errorf("%.60q is no keyType", r.KeyType)
		}
		if !r.Keys.given() {
			return errors.New("keyPath, keyPaths or keyData is missing")
		}
		return nil
	}
	return r.checkSigstore(full, own)
}

func (r *Requirement) checkSigstore(full, own json.RawMessage) error {
	if err := r.Rekor.check("rekorPublicKey"); err != nil {
		return err
	}
	ways := 0
	for _, given := range []bool{r.Keys.given(), full != nil, own != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return errors.New("there must be exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki")
	}
	if full != nil {
		r.Fulcio = &fulcio{}
		if err := r.Fulcio.parse(full); err != nil {
			return fmt.Errorf("fulcio: %w", err)
		}
		if !r.Rekor.given() {
			return errors.New("fulcio needs rekorPublicKeyPath, or another of its kind")
		}
	}
	if own != nil {
		r.PKI = &pki{}
		if err := r.PKI.parse(own); err != nil {
			return fmt.Errorf("pki: %w", err)
		}
		if r.Rekor.given() {
			return errors.New("pki and rekorPublicKeyPath do not go together")
		}
	}
	return nil
}

func (f *fulcio) parse(data []byte) error {
	err := object(data, func(key string) any {
		switch key {
		case "oidcIssuer":
			return &f.Issuer
		case "subjectEmail":
			return &f.Email
		}
		return f.CA.take(key, "ca", false)
	})
	switch {
	case err != nil:
		return err
	case f.CA.fields != 1:
		return errors.New("there must be caPath or caData, and not both")
	case f.Issuer == "":
		return errors.New("oidcIssuer is missing")
	case f.Email == "":
		return errors.New("subjectEmail is missing")
	}
	return f.CA.check("ca")
}

func (p *pki) parse(data []byte) error {
	err := object(data, func(key string) any {
		switch key {
		case "subjectEmail":
			return &p.Email
		case "subjectHostname":
			return &p.Hostname
		}
		if dest := p.Roots.take(key, "caRoots", false); dest != nil {
			return dest
		}
		return p.Intermediates.take(key, "caIntermediates", false)
	})
	switch {
	case err != nil:
		return err
	case p.Roots.fields != 1:
		return errors.New("there must be caRootsPath or caRootsData, and not both")
	case p.Intermediates.fields > 1:
		return errors.New("there may be only one of caIntermediatesPath and caIntermediatesData")
	case p.Email == "" && p.Hostname == "":
		return errors.New("subjectEmail or subjectHostname is missing")
	}
	return errors.Join(p.Roots.check("caRoots"), p.Intermediates.check("caIntermediates"))
}
