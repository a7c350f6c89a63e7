package firewall_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/network"
	"loper.run/network/firewall"
)

// task is what one of many processes does.
type task struct {
	Root, RunRoot string
	Rounds        int
	Sandbox       *network.Sandbox
}

const taskVariable = "LOPER_TEST_FIREWALL_TASK"

// TestTask is one of the processes of TestManyAtOnce. Its descriptor 3 is the
// host's network namespace.
func TestTask(t *testing.T) {
	data := os.Getenv(taskVariable)
	if data == "" {
		t.Skip("only TestManyAtOnce needs it")
	}
	var job task
	if err := json.Unmarshal([]byte(data), &job); err != nil {
		t.Fatal(err)
	}
	wall := &firewall.Firewall{Store: &network.Store{Root: job.Root, RunRoot: job.RunRoot}, Host: os.NewFile(3, "host")}
	for round := range job.Rounds {
		if err := wall.Attach(job.Sandbox); err != nil {
			t.Fatal(round, err)
		}
		if err := wall.Detach(job.Sandbox); err != nil {
			t.Fatal(round, err)
		}
	}
}

// Fifty processes attach and detach at once, some are killed, and somebody
// flushes all rules meanwhile. Who stays is reachable, and nothing of the others
// is left but what the killed had, until somebody needs it.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	stays := w.box(one, published("", 8080, 80, "tcp"))
	w.serve(stays.ns, 80, "stays")
	var all sync.WaitGroup
	for i := range 50 {
		e := one
		e.Addresses = stays.Endpoints[0].Addresses
		sb := &network.Sandbox{Container: fmt.Sprintf("%04x%060x", 0x1000+i, i), Endpoints: []network.Endpoint{e}, Ports: []network.Port{
			published("", uint16(20000+i), 80, "tcp"), published(host4, uint16(21000+i), 80, "udp"), published("::1", uint16(22000+i), 80, "tcp"),
		}}
		data, err := json.Marshal(task{w.store.Root, w.store.RunRoot, 4, sb})
		w.must(err)
		killed := i%10 == 0
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestTask$", "-test.count=1")
			cmd.Env = append(os.Environ(), taskVariable+"="+string(data))
			cmd.ExtraFiles = []*os.File{w.host.File()}
			if !killed {
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("process %d: %v: %s", i, err, out)
				}
				return
			}
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
			if err := w.wall.Detach(sb); err != nil { // as the next command does for it
				t.Error(err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	w.nft("flush", "ruleset")
	all.Wait()
	w.expect("after all", w.outside, "tcp", host4, 8080, "stays "+outside4)
	w.expect("after all", w.outside, "tcp", host6, 8080, "stays "+outside6)
	rules := w.nft("list", "ruleset")
	for _, left := range []string{". 20", ". 21", ". 22"} {
		if strings.Contains(rules, left) {
			t.Errorf("left: %s", rules)
			break
		}
	}
	w.must(w.wall.Detach(stays.Sandbox))
	w.must(w.wall.RemoveNetwork(&network.Network{Driver: network.Bridge, Interface: "br1"}))
	if rules := w.nft("list", "ruleset"); rules != "" {
		t.Errorf("left: %s", rules)
	}
}
