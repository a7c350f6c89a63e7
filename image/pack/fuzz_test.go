package pack

import (
	"archive/tar"
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A name, target, attribute or owner of whatever bytes comes back as it was.
func FuzzHeaders(f *testing.F) {
	f.Add("name", "target", "value", uint32(0), int64(5))
	f.Add("\xff\n=", "../..", "\x00=\n", uint32(1<<31), int64(-1))
	f.Add(string(bytes.Repeat([]byte("x"), 255)), "/a/"+string(bytes.Repeat([]byte("y"), 300)), "", uint32(2_097_152), int64(1<<40))
	f.Fuzz(func(t *testing.T, name, target, value string, uid uint32, seconds int64) {
		if name == "" || name == "." || name == ".." || len(name) > 255 || bytes.ContainsAny([]byte(name), "/\x00") || target == "" || len(target) > 4000 || bytes.ContainsRune([]byte(target), 0) || len(value) > 1000 {
			t.Skip()
		}
		seconds %= 1 << 33
		p := &packer{o: Options{}}
		var out bytes.Buffer
		p.w = &out
		st := &unix.Stat_t{Mode: unix.S_IFLNK | 0o777, Uid: uid, Gid: uid, Mtim: unix.Timespec{Sec: seconds, Nsec: 999_999_999}}
		h := p.header(tar.TypeSymlink, name, st, 1)
		h.Linkname = target
		if err := p.emit(h); err != nil {
			t.Fatal(err)
		}
		st.Mode = unix.S_IFREG | 0o4755
		h = p.header(tar.TypeReg, name, st, 1)
		h.Size = 0
		h.PAXRecords = map[string]string{xattrRecord + "user.x": value}
		if err := p.emit(h); err != nil {
			t.Fatal(err)
		}
		holes := *h
		holes.Size = 1 << 30
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := p.sparse(&holes, file, nil); err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(&out)
		for i, want := range []struct {
			link, value string
			size        int64
		}{{link: target}, {value: value}, {value: value, size: 1 << 30}} {
			got, err := r.Next()
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			if got.Name != name || got.Linkname != want.link || got.PAXRecords[xattrRecord+"user.x"] != want.value || got.Uid != int(uid) || got.ModTime.Unix() != seconds || got.Size != want.size {
				t.Errorf("entry %d: %+v", i, got)
			}
		}
	})
}
