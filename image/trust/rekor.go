package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// rekorEntry is cosign's annotation about a transparency log: an entry and the
// log's promise, the signed entry timestamp, to have it.
type rekorEntry struct {
	Promise []byte
	Payload rekorPayload
}

// rekorPayload is what the log signs, in the order of its canonical JSON (RFC 8785).
type rekorPayload struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"` // seconds since 1970
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
}

func parseRekor(text string) (*rekorEntry, error) {
	if text == "" {
		return nil, fmt.Errorf("it has no annotation %s", annotationRekor)
	}
	r := &rekorEntry{}
	var payload json.RawMessage
	if err := exact([]byte(text), map[string]any{"SignedEntryTimestamp": &r.Promise, "Payload": &payload}); err != nil {
		return nil, fmt.Errorf("entry of the transparency log: %w", err)
	}
	p := &r.Payload
	err := exact(payload, map[string]any{"body": &p.Body, "integratedTime": &p.IntegratedTime, "logID": &p.LogID, "logIndex": &p.LogIndex})
	if err != nil {
		return nil, fmt.Errorf("entry of the transparency log: %w", err)
	}
	return r, nil
}

// verify checks that a log promised to have this very signature of this
// payload by this key.
func (r *rekorEntry) verify(logs []Key, signer Key, payload, signature []byte) error {
	signed, err := json.Marshal(r.Payload)
	if err != nil {
		return err
	}
	promised := false
	for _, k := range logs {
		promised = promised || k.Verify(signed, r.Promise) == nil
	}
	if !promised {
		return errors.New("no known transparency log promised its entry")
	}
	var entry struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Data struct {
				Hash struct{ Algorithm, Value string } `json:"hash"`
			} `json:"data"`
			Signature struct {
				Content   []byte `json:"content"`
				PublicKey struct {
					Content []byte `json:"content"`
				} `json:"publicKey"`
			} `json:"signature"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Payload.Body, &entry); err != nil {
		return fmt.Errorf("entry of the transparency log: %w", err)
	}
	if entry.Kind != "hashedrekord" || entry.APIVersion != "0.0.1" {
		return fmt.Errorf("entry of the transparency log: it is a %.40q of version %.20q", entry.Kind, entry.APIVersion)
	}
	sum := sha256.Sum256(payload)
	key, err := ParseKey(entry.Spec.Signature.PublicKey.Content)
	switch {
	case err != nil:
		return fmt.Errorf("entry of the transparency log: %w", err)
	case !bytes.Equal(key.der, signer.der):
		return errors.New("entry of the transparency log: it is of another key")
	case !bytes.Equal(entry.Spec.Signature.Content, signature):
		return errors.New("entry of the transparency log: it is of another signature")
	case entry.Spec.Data.Hash.Algorithm != "sha256" || entry.Spec.Data.Hash.Value != hex.EncodeToString(sum[:]):
		return errors.New("entry of the transparency log: it is of another payload")
	}
	return nil
}
