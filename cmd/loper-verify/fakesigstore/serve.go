package fakesigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Handler serves the deployment to signers: Fulcio's and Rekor's protocols, as far as cosign speaks them. It believes
// every token and logs everything.
func (s *Sigstore) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/signingCert", serve(s.signingCertV1, http.StatusCreated))
	mux.HandleFunc("POST /api/v2/signingCert", serve(s.signingCertV2, http.StatusOK))
	mux.HandleFunc("POST /api/v1/log/entries", serve(s.logEntries, http.StatusCreated))
	return mux
}

// answer is what a service says.
type answer struct {
	contentType string
	name        string // of what was made
	data        []byte
}

func serve(service func(header http.Header, body []byte) (answer, error), status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var a answer
		if err == nil {
			a, err = service(r.Header, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", a.contentType)
		if a.name != "" {
			w.Header().Set("ETag", a.name)
			w.Header().Set("Location", r.URL.Path+"/"+a.name)
		}
		w.WriteHeader(status)
		w.Write(a.data)
	}
}

// Token is a token that says who somebody is, signed by nobody.
func Token(issuer, email string) string {
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(canonical(v)) }
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": issuer, "sub": email, "email": email, "email_verified": true, "aud": "sigstore",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 256))
}

func (s *Sigstore) signingCertV1(header http.Header, body []byte) (answer, error) {
	var r struct {
		PublicKey struct{ Content []byte }
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return answer{}, err
	}
	leaf, err := s.issue(strings.TrimPrefix(header.Get("Authorization"), "Bearer "), r.PublicKey.Content)
	if err != nil {
		return answer{}, err
	}
	return answer{contentType: "application/pem-certificate-chain", data: PEM(leaf, s.Intermediate, s.Root)}, nil
}

func (s *Sigstore) signingCertV2(header http.Header, body []byte) (answer, error) {
	var r struct {
		Credentials      struct{ OIDCIdentityToken string }
		PublicKeyRequest struct{ PublicKey struct{ Content string } }
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return answer{}, err
	}
	token := r.Credentials.OIDCIdentityToken
	if token == "" {
		token = strings.TrimPrefix(header.Get("Authorization"), "Bearer ")
	}
	leaf, err := s.issue(token, []byte(r.PublicKeyRequest.PublicKey.Content))
	if err != nil {
		return answer{}, err
	}
	chain := []string{string(PEM(leaf)), string(PEM(s.Intermediate)), string(PEM(s.Root))}
	return answer{contentType: "application/json", data: canonical(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": chain}}})}, nil
}

// issue gives a certificate for a public key, in PEM or not, to whom the token names.
func (s *Sigstore) issue(token string, der []byte) (*x509.Certificate, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("no token")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var c struct{ Iss, Email string }
	if err := json.Unmarshal(claims, &c); err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	return s.Certificate(Leaf{Public: public, Issuer: c.Iss, Emails: []string{c.Email}, From: time.Now()})
}

// logEntries takes a proposed entry into the log, in its canonical form.
func (s *Sigstore) logEntries(_ http.Header, data []byte) (answer, error) {
	var proposed struct {
		Kind string
		Spec struct {
			Data            json.RawMessage
			Signature       json.RawMessage
			ProposedContent struct {
				Envelope  string
				Verifiers [][]byte
			}
		}
	}
	if err := json.Unmarshal(data, &proposed); err != nil {
		return answer{}, err
	}
	var body []byte
	switch proposed.Kind {
	case "hashedrekord":
		var hash struct {
			Hash struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"hash"`
		}
		var signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"`
			} `json:"publicKey"`
		}
		if err := errors.Join(json.Unmarshal(proposed.Spec.Data, &hash), json.Unmarshal(proposed.Spec.Signature, &signature)); err != nil {
			return answer{}, err
		}
		body = canonical(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{"data": hash, "signature": signature}})
	case "dsse":
		var envelope struct {
			Payload    []byte
			Signatures []struct{ Sig []byte }
		}
		if err := json.Unmarshal([]byte(proposed.Spec.ProposedContent.Envelope), &envelope); err != nil {
			return answer{}, err
		}
		if len(envelope.Signatures) != 1 || len(proposed.Spec.ProposedContent.Verifiers) != 1 {
			return answer{}, errors.New("one signature is wanted")
		}
		body = DSSE([]byte(proposed.Spec.ProposedContent.Envelope), envelope.Payload, envelope.Signatures[0].Sig, proposed.Spec.ProposedContent.Verifiers[0])
	default:
		return answer{}, fmt.Errorf("no entries of kind %q", proposed.Kind)
	}
	e, err := s.Append(bytes.TrimSpace(body), time.Now())
	if err != nil {
		return answer{}, err
	}
	name := "0000000000000001" + hex.EncodeToString(e.RootHash) // the tree's id and the leaf's hash
	return answer{contentType: "application/json", name: name, data: canonical(map[string]any{name: map[string]any{
		"body": e.Body, "integratedTime": e.Time.Unix(), "logIndex": e.Index, "logID": hex.EncodeToString(e.LogID),
		"verification": map[string]any{"signedEntryTimestamp": e.SET, "inclusionProof": map[string]any{
			"logIndex": 0, "treeSize": 1, "rootHash": hex.EncodeToString(e.RootHash), "hashes": []string{}, "checkpoint": e.Checkpoint}},
	}})}, nil
}
