package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/internal/quickjson"
)

// The errors a caller may want to tell apart with errors.Is.
var (
	ErrNotFound   = errors.New("no such network")
	ErrAmbiguous  = errors.New("several networks have ids that begin so")
	ErrExists     = errors.New("already exists")
	ErrInUse      = errors.New("is in use")
	ErrPredefined = errors.New("pre-defined network")
	ErrConnected  = errors.New("container is connected already")
	ErrDamaged    = errors.New("network is damaged: remove it")
)

// Store is where networks are. It has no open files: any number of Stores may
// work on the same directories at once.
type Store struct {
	Root    string // what survives a restart of the machine
	RunRoot string // what does not

	// Defaults are asked for when a network is made; nil: there are none.
	Defaults func() (Defaults, error)
	// Gone reports whether a container has ended, and takes down what it left in
	// the kernel if its monitor could not. Its addresses are given to others when
	// they are short. nil: none has.
	Gone func(container string) bool
	// TearDown takes down what the kernel has of a network that is being removed.
	TearDown func(*Network) error
	// PortInUse says, by an error, who has a port of the host; nil: nobody.
	PortInUse func(Port) error

	host func() (*onHost, error) // in place of readHost, for tests
}

// Defaults are what an administrator has settled for new networks.
type Defaults struct {
	Pools   []Pool            // that IPv4 subnets are cut from; nil: DefaultPools
	Options map[string]string // of bridge networks, where they are not given
}

const (
	storeDir    = "network" // below Root and RunRoot
	networkFile = "network.json"
	ulaFile     = ".ula"
)

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.Root, storeDir}, elem...)...)
}

// Dir is where a network has what containers have taken of it.
func (s *Store) Dir(networkID string) string { return filepath.Join(s.RunRoot, storeDir, networkID) }

// Get finds the network of this name or id, or the only one whose id begins so.
// Its error is ErrNotFound or ErrAmbiguous.
func (s *Store) Get(name string) (*Network, error) {
	if CheckName(name) != nil {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	n, err := s.read(name)
	if !errors.Is(err, ErrNotFound) {
		return n, err
	}
	if name == Bridge {
		return s.Default()
	}
	for _, p := range predefined() {
		if p.Name == name {
			return p, nil
		}
	}
	if !isHex(name) {
		return nil, err
	}
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n *Network) bool { return !strings.HasPrefix(n.ID, name) })
	switch len(all) {
	case 0:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	case 1:
		return all[0], nil
	}
	return nil, fmt.Errorf("%w: %s (%s, %s)", ErrAmbiguous, name, all[0].Name, all[1].Name)
}

// read reads the network of exactly this name.
func (s *Store) read(name string) (*Network, error) {
	data, err := os.ReadFile(s.path(name, networkFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, err
	}
	n := new(Network)
	if err := quickjson.Decode(data, n); err != nil {
		return nil, fmt.Errorf("network %s: %w: %s: %w", name, ErrDamaged, networkFile, err)
	}
	if n.Name != name || !isID(n.ID) {
		return nil, fmt.Errorf("network %s: %w: %s is that of %q, %q", name, ErrDamaged, networkFile, n.Name, n.ID)
	}
	return n, nil
}

// own lists the networks that there are files of, by name.
func (s *Store) own() ([]*Network, error) {
	entries, err := os.ReadDir(s.path())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var list []*Network
	for _, entry := range entries {
		if CheckName(entry.Name()) != nil {
			continue
		}
		n, err := s.read(entry.Name())
		if errors.Is(err, ErrNotFound) {
			continue // being made or removed; Create and Remove sweep
		}
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// List lists all networks by name, those that have no segment too.
func (s *Store) List() ([]*Network, error) {
	list, err := s.own()
	if err != nil {
		return nil, err
	}
	list = append(list, predefined()...)
	slices.SortFunc(list, func(a, b *Network) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// lock takes the store's lock, under which networks are made and removed.
func (s *Store) lock() (*os.File, error) {
	if err := os.Mkdir(s.path(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	d, err := os.Open(s.path())
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(d, unix.LOCK_EX); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// hold finds a network and keeps it from being removed until the file is closed.
func (s *Store) hold(name string) (*Network, *os.File, error) {
	at := name
	for CheckName(name) == nil {
		n, d, err := s.holdExactly(at)
		if err == nil && (n.Name == name || strings.HasPrefix(n.ID, name)) {
			return n, d, nil
		}
		if d != nil {
			d.Close()
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, nil, err
		}
		// An id, the default network before its first use, or none.
		if n, err = s.Get(name); err != nil {
			return nil, nil, err
		}
		if n.Driver == Host || n.Driver == noDriver {
			return nil, nil, fmt.Errorf("%s is a %w that nobody can be connected to", n.Name, ErrPredefined)
		}
		at = n.Name
	}
	return nil, nil, fmt.Errorf("%w: %q", ErrNotFound, name)
}

// holdExactly is hold for the name itself.
func (s *Store) holdExactly(name string) (*Network, *os.File, error) {
	d, err := os.Open(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, nil, err
	}
	var n *Network
	if err = flock.Lock(d, unix.LOCK_SH); err == nil {
		n, err = s.read(name)
	}
	if err == nil && !same(d, s.path(name)) { // removed, and made again
		err = fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return n, d, nil
}

// same reports whether an open directory is the one of this path.
func same(d *os.File, path string) bool {
	a, err := d.Stat()
	b, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// subnetsOf are the subnets of networks.
func subnetsOf(all []*Network) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range all {
		for _, sub := range n.Subnets {
			list = append(list, sub.Prefix)
		}
	}
	return list
}
