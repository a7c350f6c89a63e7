package container

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"loper.run/network"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func portText(list []network.Port) string {
	words := make([]string, len(list))
	for i, p := range list {
		host := ""
		if p.Host.IsValid() {
			host = p.Host.String() + "@"
		}
		end := ""
		if p.HostEnd != 0 {
			end = fmt.Sprintf("-%d", p.HostEnd)
		}
		words[i] = fmt.Sprintf("%s%d%s>%d/%s", host, p.HostPort, end, p.ContainerPort, p.Protocol)
	}
	return strings.Join(words, " ")
}

func TestParsePublish(t *testing.T) {
	for word, want := range map[string]string{
		"80": "0>80/tcp", "8080:80": "8080>80/tcp", "8080:80/udp": "8080>80/udp", "1:2/SCTP": "1>2/sctp",
		"127.0.0.1:8080:80": "127.0.0.1@8080>80/tcp", "127.0.0.1::80": "127.0.0.1@0>80/tcp", "[::1]:8080:80": "::1@8080>80/tcp", "[::1]::80": "::1@0>80/tcp", "0.0.0.0:1:1": "0.0.0.0@1>1/tcp",
		"8000-8002:80-82": "8000>80/tcp 8001>81/tcp 8002>82/tcp", "80-81": "0>80/tcp 0>81/tcp", "8000-8010:80": "8000-8010>80/tcp", "65535:65535": "65535>65535/tcp",
		"target=80,published=8080": "8080>80/tcp", "target=80,published=8080,protocol=udp,mode=host": "8080>80/udp", "target=80": "0>80/tcp",
		":80": "0>80/tcp", "[::ffff:127.0.0.1]:8080:80": "127.0.0.1@8080>80/tcp",
	} {
		list, err := ParsePublish(word)
		if got := portText(list); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", word, got, err, want)
		}
	}
	for bad, want := range map[string]string{
		"": "no port specified", "/tcp": "no port specified", "x": "invalid containerPort: x", "0": "invalid containerPort", "65536": "invalid containerPort", "-1": "invalid containerPort", "+1": "invalid containerPort",
		"80/xyz": "invalid proto: xyz", "80/": "invalid proto", "x:80": "invalid hostPort: x", "0:80": "invalid hostPort", "8000-8005:80-82": "invalid ranges specified", "82-80": "invalid containerPort", "90-80:80": "invalid hostPort",
		"1.2.3:80:80": "invalid IP address: 1.2.3", "::1:80:80": "invalid IP address", "[127.0.0.1]:80:80": "invalid IP address", "[fe80::1%eth0]:80:80": "invalid IP address", "host:80:80": "invalid IP address: host",
		"target=80,x=1": `unknown option "x=1"`, "published=80": "invalid containerPort", "target=": "want KEY=VALUE", "80:80:80:80": "invalid IP address", "8000:80-81": "invalid ranges", " 80": "invalid containerPort",
	} {
		if list, err := ParsePublish(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", bad, portText(list), err, want)
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	f.Add("[::1]:8000-8002:80-82/udp")
	f.Add("target=80,published=8080")
	f.Fuzz(func(t *testing.T, word string) {
		list, err := ParsePublish(word)
		if err == nil && (len(list) == 0 || len(list) > 65535) {
			t.Errorf("%q: %d ports", word, len(list))
		}
		for _, p := range list {
			if p.ContainerPort == 0 || p.HostEnd != 0 && p.HostEnd <= p.HostPort || p.Host.Zone() != "" {
				t.Errorf("%q: %+v", word, p)
			}
		}
	})
}

func TestParseExpose(t *testing.T) {
	for word, want := range map[string]string{"80": "80/tcp", "53/udp": "53/udp", "80-82/tcp": "80/tcp 81/tcp 82/tcp"} {
		if list, err := ParseExpose(word); err != nil || strings.Join(list, " ") != want {
			t.Errorf("%s: %v, %v", word, list, err)
		}
	}
	for _, bad := range []string{"", "x", "0", "80:80", "82-80", "80/x", "65536", "1-65536"} {
		if list, err := ParseExpose(bad); err == nil {
			t.Errorf("%q: %d ports", bad, len(list))
		}
	}
}
