package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"loper.run/image/oci"
)

// SignCosign signs the manifest d by the name in cosign's form.
func (p PrivateKey) SignCosign(d oci.Digest, name string) (Signature, error) {
	type object = map[string]any
	body, err := json.Marshal(object{
		"critical": object{
			"identity": object{"docker-reference": name},
			"image":    object{"docker-manifest-digest": d},
			"type":     cosignType,
		},
		"optional": nil,
	})
	if err != nil {
		return Signature{}, err
	}
	sig, err := p.Sign(body)
	if err != nil {
		return Signature{}, fmt.Errorf("sign: %w", err)
	}
	return Signature{Form: Cosign, Body: body, Of: d, Annotations: map[string]string{
		annotationSignature: base64.StdEncoding.EncodeToString(sig),
		annotationKey:       string(p.Public.PEM()),
	}}, nil
}

// SignBundle signs the manifest d in the form of sigstore's bundle. A bundle
// names no repository.
func (p PrivateKey) SignBundle(d oci.Digest) (Signature, error) {
	type object = map[string]any
	statement, err := json.Marshal(object{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []object{{"digest": object{d.Algorithm().String(): d.Hex()}}},
		"predicateType": cosignPredict,
		"predicate":     object{},
	})
	if err != nil {
		return Signature{}, err
	}
	sig, err := p.Sign(preAuth(statementType, statement))
	if err != nil {
		return Signature{}, fmt.Errorf("sign: %w", err)
	}
	hint := sha256.Sum256(p.Public.der)
	body, err := json.Marshal(object{
		"mediaType":            TypeBundle,
		"verificationMaterial": object{"publicKey": object{"hint": base64.StdEncoding.EncodeToString(hint[:])}},
		"dsseEnvelope":         object{"payload": statement, "payloadType": statementType, "signatures": []object{{"sig": sig}}},
	})
	return Signature{Form: Bundle, Body: body, Of: d, Annotations: map[string]string{annotationKey: string(p.Public.PEM())}}, err
}
