package isolation

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if err := Report(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("uid %d, gid %d", os.Geteuid(), os.Getegid()), fmt.Sprintf("pid %d", os.Getpid()),
		host, "user " + strings.Trim(user[len("user:"):], "[]"), "seccomp", "lo",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 80 {
			t.Errorf("line of %d columns: %s", len(line), line)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for mask, want := range map[string]string{
		"0000000000000000": "none", "0000000000000001": "chown", "000001ffffffffff": "all 41", "000001feffffffff": "all but mac_override", "x": "unknown",
		"0000000000200400": "net_bind_service sys_admin", "8000000000000000": "63",
	} {
		if got := capabilities(mask); got != want {
			t.Errorf("%s: %q, want %q", mask, got, want)
		}
	}
}

func TestIDMap(t *testing.T) {
	for text, want := range map[string]string{
		"         0          0 4294967295\n": "the same as outside", "0 1000 1\n1 100000 65536\n": "0 here is 1000 outside\n1-65536 here are 100000-165535 outside", "": "none is mapped",
	} {
		path := t.TempDir() + "/map"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := idMap(path); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	for got, want := range map[string]string{
		bytesLimit("9223372036854771712"): "no limit", bytesLimit("max"): "no limit", bytesLimit("536870912"): "at most 512MiB",
		bytesLimit(""): "limit not visible", countLimit("max"): "no limit", countLimit("100"): "at most 100",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
