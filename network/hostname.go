package network

import "errors"

// MaxName is how long a name may be that a network resolves.
const MaxName = 253

// ErrName says that no network knows such a name.
var ErrName = errors.New("no host name: labels of letters, digits, - and _ that are joined by dots, 253 bytes at most")

// AppendName appends a host name as a network's files are called by it: in
// lower case, and without the dot that ends a full name. What may be in a name
// is what may be in a file's: no slash, no empty label and thus no "..".
func AppendName[T string | []byte](to []byte, name T) ([]byte, error) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if len(name) == 0 || len(name) > MaxName {
		return to, ErrName
	}
	start := len(to)
	label := 0 // bytes of the label so far
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.' && label > 0 && i < len(name)-1:
			to, label = append(to, c), 0
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return to[:start], ErrName
		}
		if label++; label > 63 {
			return to[:start], ErrName
		}
		to = append(to, c)
	}
	return to, nil
}
