package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, words := range [][]string{nil, {"all"}} {
		if r, err := Parse(words); r != nil || err != nil {
			t.Errorf("%q: %v, %v", words, r, err)
		}
	}
	for _, good := range []string{"none", "example.org", "*.debian.org:443", "db:5432/tcp", "192.0.2.1", "192.0.2.0/24:80-90/udp", "2001:db8::1", "2001:db8::/32",
		"[2001:db8::1]:443", "[2001:db8::]/32:443", "example.org.,EXAMPLE.com", "_x.a-b:1", "::ffff:192.0.2.1"} {
		if r, err := Parse([]string{good}); err != nil || r == nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "neither", "a..b": "neither", "*": "neither", "*.": "neither", "a*.b": "neither", "*.*.b": "neither", "a b": "neither", "ü": "neither",
		"a:": "no port", "a:0": "no port", "a:65536": "no port", "a:x": "no port", "a:9-8": "above", "a:80/sctp": "protocol", "a:80/": "protocol",
		"1.2.3": "address", "1.2.3.4.5": "address", "300.1.1.1": "address", "10.0.0.1/8": "10.0.0.0/8", "10.0.0.0/33": "network", "fe80::1%eth0": "address",
		"[::1": "bracket", "[::1]443": "bracket", "all,a": "alone", "none,all": "alone", "a,,b": "neither", strings.Repeat("a", 64): "neither", strings.Repeat("a.", 127) + "b": "253",
	} {
		if _, err := Parse([]string{bad}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", bad, err, want)
		}
	}
}

func TestAllow(t *testing.T) {
	r, err := Parse([]string{"example.org,*.Debian.org:443,192.0.2.1", "db"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"example.org": true, "EXAMPLE.ORG.": true, "www.example.org": false, "xexample.org": false, "example.org.evil": false,
		"debian.org": false, ".debian.org": false, "deb.debian.org": true, "a.b.debian.org.": true, "evildebian.org": false, "db": true, "db.": true, "": false, ".": false, "192.0.2.1": false,
		// What only Unicode takes for the same letters is another name.
		"db.DEB\u0130AN.org": false, "x.deb\u0130an.org": false, "de\uff42.debian.org": true, "\xff.debian.org": true, "d\u212a.debian.org.evil": false,
	} {
		if got := r.Allow(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if none, _ := Parse([]string{"none"}); none.Allow("example.org") || none.Allow("") {
		t.Error("none allows something")
	}
}

// The sign of Kelvin is no k.
func TestNotASCII(t *testing.T) {
	r, err := Parse([]string{"k.example,*.kiosk.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"\u212a.example", "x.\u212aiosk.example", "x.kios\u212a.example", "x.k\u0130osk.example"} {
		if r.Allow(name) {
			t.Errorf("%q is allowed", name)
		}
	}
	if _, err := Parse([]string{"\u212a.example"}); err == nil {
		t.Error("a rule may have letters that no name server takes for these")
	}
}

func TestSpecial(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "::ffff:127.0.0.1": true, "169.254.169.254": true, "fe80::1": true, "224.0.0.1": true, "ff02::1": true, "0.0.0.0": true, "::": true,
		"64:ff9b::a9fe:a9fe": true, "64:ff9b::7f00:1": true, "2002:a9fe:a9fe::1": true, "::169.254.169.254": true, "::ffff:100.100.100.200": true,
		"fd00:ec2::254": true, "fd20:ce::254": true, "100.100.100.200": true, "168.63.129.16": true, "64:ff9b::a83f:8110": true, "fe80::1%eth0": true,
		"64:ff9b::c000:201": false, "2002:c000:201::1": false, "fd00:ec2::1": false, "100.100.100.201": false,
		"255.255.255.255": true, "192.0.2.1": false, "10.0.0.1": false, "2001:db8::1": false,
	} {
		if Special(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a:1", "[::1]:2", "*.x", "1.2.3.4/5:6-7/udp", "all"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse([]string{text})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q: an error of several lines: %q", text, err)
			}
			return
		}
		for _, one := range r.listOrNone() {
			if one.name == "" && !one.network.IsValid() || one.from > one.to {
				t.Errorf("%q: %+v", text, one)
			}
		}
	})
}

func (r *Rules) listOrNone() []rule {
	if r == nil {
		return nil
	}
	return r.list
}
