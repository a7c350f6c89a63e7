package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// object decodes a JSON object field by field, as documents about safety have
// to be: target returns where a field goes, nil when there is no such field. A
// field that appears twice, an unknown one, and data after the object are
// errors: two readers must not see two documents.
func object(data []byte, target func(key string) any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	t, err := dec.Token()
	if err != nil {
		return ended(err)
	}
	if t != json.Delim('{') {
		return errors.New("it is no JSON object")
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return ended(err)
		}
		key, ok := t.(string)
		if !ok {
			return fmt.Errorf("%.60v is no name of a field", t)
		}
		if seen[key] {
			return fmt.Errorf("field %.60q appears twice", key)
		}
		seen[key] = true
		dest := target(key)
		if dest == nil {
			return fmt.Errorf("field %.60q is unknown", key)
		}
		if err := dec.Decode(dest); err != nil {
			return fmt.Errorf("field %.60q: %w", key, ended(err))
		}
	}
	if _, err := dec.Token(); err != nil {
		return ended(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is something after the JSON object")
	}
	return nil
}

// exact is object for one whose fields all have to be there.
func exact(data []byte, fields map[string]any) error {
	missing := len(fields)
	err := object(data, func(key string) any {
		dest, ok := fields[key]
		if !ok {
			return nil
		}
		missing--
		return dest
	})
	if err == nil && missing > 0 {
		return fmt.Errorf("%d of its %d fields are missing", missing, len(fields))
	}
	return err
}

func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
