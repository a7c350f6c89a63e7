package fakesigstore

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
)

// Entry is an entry of the log, which has no other.
type Entry struct {
	Body  []byte // canonical JSON
	Time  time.Time
	Index int64
	LogID []byte
	SET   []byte // the log's promise: its signature of all the above; the second version has no time and no promise

	Checkpoint string // a signed note of the tree's head
	RootHash   []byte
}

// HashedRekord is the body of an entry that says: this certificate (or key), in PEM, signed this.
func HashedRekord(signed, signature, signer []byte) []byte {
	digest := sha256.Sum256(signed)
	return canonical(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(digest[:])}},
		"signature": map[string]any{"content": signature, "publicKey": map[string]any{"content": signer}},
	}})
}

// DSSE is the body of an entry of an attestation in its envelope.
func DSSE(envelope, payload, signature, signer []byte) []byte {
	hash := func(data []byte) map[string]any {
		digest := sha256.Sum256(data)
		return map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(digest[:])}
	}
	return canonical(map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": hash(envelope), "payloadHash": hash(payload),
		"signatures": []any{map[string]any{"signature": signature, "verifier": signer}},
	}})
}

// Append makes an entry.
func (s *Sigstore) Append(body []byte, at time.Time) (*Entry, error) {
	id := keyID(&s.logKey.PublicKey)
	e := &Entry{Body: body, Time: at, Index: 12345, LogID: id[:]}
	leaf := sha256.Sum256(append([]byte{0}, body...))
	e.RootHash = leaf[:] // of a tree with one leaf
	var err error
	if e.SET, err = sign(s.logKey, canonical(e.payload())); err != nil {
		return nil, err
	}
	e.Checkpoint, err = s.checkpoint(logName+" - 1", e.RootHash)
	return e, err
}

// logName is the host of the log's address.
const logName = "log.example"

// checkpoint is the signed head of a tree with one leaf.
func (s *Sigstore) checkpoint(origin string, rootHash []byte) (string, error) {
	id := keyID(&s.logKey.PublicKey)
	text := fmt.Sprintf("%s\n1\n%s\n", origin, base64.StdEncoding.EncodeToString(rootHash))
	signature, err := sign(s.logKey, []byte(text))
	return fmt.Sprintf("%s\n\u2014 %s %s\n", text, logName, base64.StdEncoding.EncodeToString(append(id[:4], signature...))), err
}

// AppendV2 makes an entry of the log's second version, which signs no times and promises nothing, but proves: that the
// certificate signed what has this digest.
func (s *Sigstore) AppendV2(digest, signature []byte, signer *x509.Certificate) (*Entry, error) {
	id := keyID(&s.logKey.PublicKey)
	e := &Entry{LogID: id[:], Body: canonical(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": map[string]any{"hashedRekordV002": map[string]any{
		"data":      map[string]any{"algorithm": "SHA2_256", "digest": digest},
		"signature": map[string]any{"content": signature, "verifier": map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": map[string]any{"rawBytes": signer.Raw}}},
	}}})}
	leaf := sha256.Sum256(append([]byte{0}, e.Body...))
	e.RootHash = leaf[:]
	var err error
	e.Checkpoint, err = s.checkpoint(logName, e.RootHash)
	return e, err
}

// payload is what the log promises, as it signs it.
func (e *Entry) payload() map[string]any {
	return map[string]any{"body": e.Body, "integratedTime": e.Time.Unix(), "logIndex": e.Index, "logID": hex.EncodeToString(e.LogID)}
}

// Annotation is cosign's dev.sigstore.cosign/bundle.
func (e *Entry) Annotation() []byte {
	return canonical(map[string]any{"SignedEntryTimestamp": e.SET, "Payload": e.payload()})
}

// canonical is canonical JSON (RFC 8785), as far as tests need it.
func canonical(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings, numbers and bytes
	}
	return data
}

func sign(key *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	return ecdsa.SignASN1(rand.Reader, key, digest[:])
}

// transparency is the extension that says that a certificate, which lacks it yet, is in the certificate log.
func (s *Sigstore) transparency(c *x509.Certificate) ([]byte, error) {
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: uint64(c.NotBefore.UnixMilli()), LogID: ct.LogID{KeyID: keyID(&s.ctKey.PublicKey)}}
	issuer := keyID(&s.intermediateKey.PublicKey)
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{IssuerKeyHash: issuer, TBSCertificate: c.RawTBSCertificate}},
	}})
	if err != nil {
		return nil, err
	}
	signature, err := cttls.CreateSignature(*s.ctKey, cttls.SHA256, input)
	if err != nil {
		return nil, err
	}
	sct.Signature = ct.DigitallySigned(signature)
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{&sct})
	if err != nil {
		return nil, err
	}
	data, err := cttls.Marshal(*list)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(data)
}
