package network

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// childEnv makes this program be one of many: "crowd" or "crash", the directory, and its number.
const childEnv = "LOPER_TEST_NETWORK_CHILD"

func TestMain(m *testing.M) {
	if words := strings.Split(os.Getenv(childEnv), " "); len(words) == 3 {
		var number int
		fmt.Sscan(words[2], &number)
		s := &Store{Root: filepath.Join(words[1], "root"), RunRoot: filepath.Join(words[1], "run"), host: func() (*onHost, error) { return &onHost{}, nil }}
		work := crowd
		if words[0] == "crash" {
			work = toAndFro
		}
		if err := work(s, words[1], number); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(s *Store, kind string, number int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, kind, filepath.Dir(s.Root), number))
	return cmd
}

// crowd connects and disconnects, and checks that what it has is nobody else's.
func crowd(s *Store, dir string, number int) error {
	for range 8 {
		sb, err := s.Claim(id(number), fmt.Sprint("c", number), []Request{{Network: "a", Aliases: []string{"all"}}}, []Port{{ContainerPort: 80, Protocol: "tcp"}})
		if err != nil {
			return err
		}
		if _, err := s.ConnectOne(sb, Request{Network: Bridge, Aliases: []string{"all"}}); err != nil {
			return err
		}
		var mine []string
		for _, e := range sb.Endpoints {
			for _, p := range e.Addresses {
				mine = append(mine, e.Network+"-"+p.Addr().String())
			}
			data, err := os.ReadFile(filepath.Join(s.Dir(e.NetworkID), "name", "all", id(number)))
			if err != nil || strings.Count(string(data), "\n") != len(e.Addresses) {
				return fmt.Errorf("its name: %q, %w", data, err)
			}
		}
		mine = append(mine, fmt.Sprint("port-", sb.Ports[0].HostPort))
		if len(mine) != 5 {
			return fmt.Errorf("it has %v", mine)
		}
		for _, thing := range mine {
			f, err := os.OpenFile(filepath.Join(dir, "seen", thing), os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("two have it: %w", err)
			}
			f.Close()
		}
		for _, thing := range mine {
			if err := os.Remove(filepath.Join(dir, "seen", thing)); err != nil {
				return err
			}
		}
		if number%2 == 0 {
			if err := s.DisconnectOne(sb, sb.Endpoints[0].NetworkID); err != nil {
				return err
			}
		}
		if err := s.Release(id(number)); err != nil {
			return err
		}
	}
	return nil
}

// Fifty processes connect and disconnect at once: nothing is lost, and nothing is given twice.
func TestCrowd(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "a", Subnets: []Subnet{subnet("192.0.2.0/26"), subnet("2001:db8::/122")}}})
	if err := os.Mkdir(filepath.Join(filepath.Dir(s.Root), "seen"), 0o700); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if out, err := child(s, "crowd", i).CombinedOutput(); err != nil {
				t.Errorf("%d: %v: %s", i, err, out)
			}
		})
	}
	// Meanwhile networks come and go, and nobody can remove the one in use for long.
	for i := range 20 {
		n, err := s.Create(Spec{Network: Network{Name: fmt.Sprint("other", i)}})
		if err != nil {
			t.Error(err)
			break
		}
		if err := s.Remove(n.Name); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	empty(t, s)
}

// toAndFro makes networks, connects, disconnects and removes them until it is killed.
func toAndFro(s *Store, _ string, number int) error {
	fmt.Println("begun")
	for i := 0; ; i++ {
		n, err := s.Create(Spec{Network: Network{Name: fmt.Sprint("n", number)}})
		if errors.Is(err, ErrExists) {
			n, err = s.Get(fmt.Sprint("n", number))
		}
		if err != nil {
			return err
		}
		sb, err := s.Claim(id(number), "c", []Request{{Network: n.Name, Aliases: []string{"x", "y"}}, {Network: Bridge}}, []Port{{ContainerPort: 80, Protocol: "tcp"}, {HostPort: 99, ContainerPort: 99, Protocol: "udp"}})
		if err != nil {
			return err
		}
		if err := s.DisconnectOne(sb, n.ID); err != nil {
			return err
		}
		if err := s.Release(id(number)); err != nil {
			return err
		}
		if err := s.Remove(n.Name); err != nil {
			return err
		}
	}
}

// Wherever a process is killed, Release finds all that it had, and nothing of a network is there by halves.
func TestKilled(t *testing.T) {
	s := newStore(t)
	halves := 0
	for round := range 120 {
		cmd := child(s, "crash", round%3)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		time.Sleep(time.Duration(rand.IntN(6000)) * time.Microsecond)
		cmd.Process.Kill()
		for lines.Scan() {
			t.Errorf("round %d: %s", round, lines.Text())
		}
		cmd.Wait()
		all, err := s.own()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, n := range all {
			if len(n.Subnets) != 2 || n.Interface == "" {
				t.Errorf("round %d: half a network: %+v", round, n)
			}
			if members, err := s.Members(n); err != nil {
				t.Errorf("round %d: %v", round, err)
			} else if len(members) > 0 {
				halves++
			}
		}
		if err := s.Release(id(round % 3)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		empty(t, s)
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
	if halves == 0 {
		t.Error("none was killed while it had something")
	}
	// The next command that makes or removes a network sweeps.
	if _, err := s.Prune(func(*Network) bool { return true }, false); err != nil {
		t.Fatal(err)
	}
	n := create(t, s, Spec{Network: Network{Name: "last"}})
	entries, _ := os.ReadDir(s.path())
	for _, entry := range entries {
		if name := entry.Name(); name != "last" && name != Bridge && name != ".ula" {
			t.Errorf("left: %s", name)
		}
	}
	if left, _ := filepath.Glob(s.Dir("*")); len(left) > 2 { // bridge and port
		t.Errorf("left: %v, with %s", left, n.ID)
	}
}
