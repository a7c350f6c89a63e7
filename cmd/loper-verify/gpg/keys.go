package gpg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// readKeys are all keys of the key files. A key that the library does not understand is left out; a file without any
// key that it does is an error, since whoever named the file meant it to say something.
func readKeys(keyFiles [][]byte) (pgp.EntityList, error) {
	if len(keyFiles) == 0 {
		return nil, errors.New("no keys to verify with")
	}
	var all pgp.EntityList
	for i, data := range keyFiles {
		keys, err := readKeyFile(data)
		if err != nil {
			return nil, fmt.Errorf("key file %d of %d: %w", i+1, len(keyFiles), err)
		}
		if len(keys) == 0 {
			return nil, fmt.Errorf("key file %d of %d: no OpenPGP keys in it", i+1, len(keyFiles))
		}
		all = append(all, keys...)
	}
	return all, nil
}

// readKeyFile reads a keyring as "gpg --export" writes it, or one or more armored ones after each other.
func readKeyFile(data []byte) (pgp.EntityList, error) {
	if !bytes.Contains(data, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		return pgp.ReadKeyRing(bytes.NewReader(data))
	}
	var all pgp.EntityList
	for r := bufio.NewReader(bytes.NewReader(data)); ; {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if block.Type != pgp.PublicKeyType {
			continue
		}
		keys, err := pgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
}
