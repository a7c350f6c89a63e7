package packet

import "testing"

func FuzzPackets(f *testing.F) {
	f.Add(AppendResize(nil, 24, 80))
	f.Add(AppendExit(nil, 137))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 {
			return
		}
		if rows, cols, ok := ParseResize(p[1:]); ok && string(AppendResize(nil, rows, cols)[1:]) != string(p[1:]) {
			t.Errorf("resize %d %d of %q", rows, cols, p)
		}
		if code, ok := ParseExit(p[1:]); ok && string(AppendExit(nil, code)[1:]) != string(p[1:]) {
			t.Errorf("exit %d of %q", code, p)
		}
	})
}
