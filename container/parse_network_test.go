package container

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"loper.run/network"
)

func TestParseNetwork(t *testing.T) {
	for word, want := range map[string]string{
		"none": "none", "host": "host", "container:web": "container:web", "ns:/run/netns/a": "ns:/run/netns/a",
		"bridge": `{"network":"bridge"}`, "default": `{"network":"bridge"}`, "my.net": `{"network":"my.net"}`,
		"n:alias=a,alias=b,ip=10.1.2.3,ip6=fd00::3,mac=02-00-00-00-00-01,interface_name=lan0": `{"network":"n","aliases":["a","b"],"ip":"10.1.2.3","ip6":"fd00::3","mac":"02:00:00:00:00:01","interface":"lan0"}`,
		"name=n,alias=a,ip=10.1.2.3,mac-address=02:00:00:00:00:0A":                            `{"network":"n","aliases":["a"],"ip":"10.1.2.3","mac":"02:00:00:00:00:0a"}`,
		`name=n,"driver-opt=com.docker.network.endpoint.ifname=lan0"`:                         `{"network":"n","interface":"lan0"}`,
		"n:ip6=[fd00::3]":       `{"network":"n","ip6":"fd00::3"}`,
		"name=n,gw-priority=-2": `{"network":"n","priority":-2}`,
	} {
		mode, r, err := ParseNetwork(word)
		got := mode
		if mode == "" {
			data, _ := json.Marshal(r)
			got = string(data)
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", word, got, err)
		}
	}
	for _, bad := range []string{
		"", ":", "a/b", "../a", "n:", "-n", "n:x=1", "n:ip=fd00::1", "n:ip6=10.0.0.1", "n:ip=0.0.0.0", "n:ip6=fe80::1%eth0", "n:mac=1", "n:mac=01:00:00:00:00:01", "n:mac=00:00:00:00:00:00",
		"n:alias=a b", "n:interface_name=lo", "n:interface_name=a/b", "n:interface_name=0123456789abcdef", "name=", "alias=a", "container:", "container", "ns:relative", "ns:", "none:x",
		"host:alias=a", `n:"`, "n:driver-opt=a=b", "n:gw-priority=high", "n\n",
	} {
		if mode, r, err := ParseNetwork(bad); err == nil && bad != "n:" || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q %+v %v", bad, mode, r, err)
		}
	}
}

// What is stored of a container from before there were networks has none.
func TestStoredNetwork(t *testing.T) {
	for text, want := range map[string]string{`{}`: "none", `{"network":"none"}`: "none", `{"network":"host"}`: "host", `{"network":"container:web"}`: "container:web", `{"networks":[{"network":"a"},{"network":"b"}]}`: "a,b"} {
		var s Settings
		if err := json.Unmarshal([]byte(text), &s); err != nil || strings.Join(s.NetworkNames(), ",") != want {
			t.Errorf("%s: %v %v", text, s.NetworkNames(), err)
		}
	}
}

func TestAddNetwork(t *testing.T) {
	for words, want := range map[string]string{
		"none none": "", "bridge": "", "bridge a": "", "host host": "",
		"none a": "conflicting options", "a none": "conflicting options", "host none": "conflicting options", "container:x a": "conflicting options",
		"a a": `network "a" is specified multiple times`, "a a:ip=10.0.0.1": "multiple times",
	} {
		var s Settings
		var err error
		for _, w := range strings.Fields(words) {
			if err == nil {
				err = s.AddNetwork(w)
			}
		}
		if fmt.Sprint(err) != "<nil>" != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestModesThatLeaveNoPlace(t *testing.T) {
	ports := []network.Port{{ContainerPort: 80, Protocol: "tcp"}}
	for want, s := range map[string]Settings{
		"port publishing and the container type network mode":             {Network: "container:a", Ports: ports},
		"links and the ns type network mode":                              {Network: "ns:/x", Links: []string{"a"}},
		"hostname and the container type network mode":                    {Network: "container:a", Hostname: "b"},
		"port exposing and the container type network mode":               {Network: "container:a", Expose: []string{"80/tcp"}},
		"dns and the container type network mode":                         {Network: "container:a", DNS: []string{"1.1.1.1"}},
		"custom host-to-IP mapping and the container type network mode":   {Network: "container:a", AddHosts: []string{"a:1.1.1.1"}},
		"links and the host type network mode":                            {Network: "host", Links: []string{"a"}},
		"egress rules and the host type network mode":                     {Network: "host", Egress: []string{"none"}},
		"network rate and the none type network mode":                     {Network: "none", RateIn: 1},
		"user specified IP address is supported on user defined networks": {Networks: []network.Request{{Network: "bridge", IP: addr("10.0.0.1")}}},
		"network-scoped aliases are only supported for user-defined":      {Networks: []network.Request{{Network: "bridge", Aliases: []string{"a"}}}},
		"bad format for links: a:b:c":                                     {Networks: []network.Request{{Network: "bridge"}}, Links: []string{"a:b:c"}},
		"network nope not found":                                          {Networks: []network.Request{{Network: "nope"}}},
	} {
		e := &Engine{Networks: &network.Store{Root: t.TempDir(), RunRoot: t.TempDir()}}
		if err := e.chooseNetwork(&s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	e := &Engine{DefaultNetwork: "none"}
	s := Settings{AddHosts: []string{"a:1.1.1.1"}, DNS: []string{"1.1.1.1"}, Hostname: "a"}
	if err := e.chooseNetwork(&s); err != nil || s.Network != "none" {
		t.Errorf("%v %q", err, s.Network)
	}
}
