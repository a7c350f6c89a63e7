package store

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/atomicfile"
)

const (
	// notesSuffix makes the name of a download's notes of the download's own.
	notesSuffix = ".ranges"
	// noteEvery is after how many bytes it is noted which ranges are there: a
	// kill loses no more.
	noteEvery = 1 << 20
	// syncEvery is how often what is there is synced and noted so: a power cut
	// loses no more.
	syncEvery = 5 * time.Second
	// A note has a place of its own in the file. Two are for what was synced,
	// in turn, so that one is whole when the power goes while the other is
	// written; the third is for what this boot's page cache holds.
	noteSize    = 4096
	noteCount   = 3
	noteCurrent = 2
	// maxNoted is how many ranges fit into a note for certain.
	maxNoted = 90
)

// notes tell, beside the file of a download, which ranges of it are there. They
// are only a hint, like the bytes themselves: the digest decides in the end.
type notes struct {
	data *os.File
	path string

	f      *os.File
	unsaid int64 // bytes since the last note
	turn   int   // of the notes of what was synced
	synced time.Time
	boot   string
	work   sync.WaitGroup
	busy   bool // a sync is under way
	mu     sync.Mutex
}

// note is one note. What was noted in another boot may never have reached the
// disk, unless it was synced before.
type note struct {
	Boot   string     `json:"boot,omitempty"`
	Synced bool       `json:"synced,omitempty"`
	Ranges [][2]int64 `json:"ranges"`
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// read returns all that notes of use say.
func (n *notes) read() spans {
	data, err := readFile(n.path, noteCount*noteSize)
	if err != nil {
		return nil
	}
	n.boot = bootID()
	var have spans
	var synced int64
	for i := 0; i*noteSize < len(data); i++ {
		line, _, whole := bytes.Cut(data[i*noteSize:min((i+1)*noteSize, len(data))], []byte("\n"))
		var said note
		if !whole || json.Unmarshal(line, &said) != nil || !said.Synced && (said.Boot == "" || said.Boot != n.boot) {
			continue
		}
		var these spans
		for _, r := range said.Ranges {
			if 0 <= r[0] && r[0] < r[1] {
				these, have = these.add(Span{r[0], r[1]}), have.add(Span{r[0], r[1]})
			}
		}
		if said.Synced && these.size() >= synced {
			synced, n.turn = these.size(), 1-min(i, 1)
		}
	}
	return have
}

// grown is told of bytes that were written; now and then it notes or syncs.
func (n *notes) grown(bytes int64, have spans) {
	if n.unsaid += bytes; n.unsaid >= noteEvery {
		n.say(have)
	}
	if n.synced.IsZero() {
		n.synced = time.Now()
	}
	if time.Since(n.synced) < syncEvery || n.isBusy(true) {
		return
	}
	n.synced = time.Now()
	all := append(spans(nil), have...)
	n.work.Go(func() {
		defer n.isBusy(false)
		n.sync(all)
	})
}

func (n *notes) isBusy(set bool) (was bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, n.busy = n.busy, set
	return was
}

// say notes what is there. A note that fails costs bytes of the next try, and
// is no reason to fail in this one.
func (n *notes) say(have spans) {
	if n.unsaid == 0 || !n.open() {
		return
	}
	if n.boot == "" {
		n.boot = bootID()
	}
	n.unsaid = 0
	n.write(noteCurrent, note{Boot: n.boot, Ranges: ranges(have)})
}

// sync makes what is there durable, then notes that it is.
func (n *notes) sync(have spans) {
	if !n.open() || unix.Fdatasync(int(n.data.Fd())) != nil {
		return
	}
	if n.write(n.turn, note{Synced: true, Ranges: ranges(have)}) && n.f.Sync() == nil && atomicfile.SyncDir(filepath.Dir(n.path)) == nil {
		n.turn = 1 - n.turn
	}
}

func ranges(have spans) (list [][2]int64) {
	for _, s := range have[:min(len(have), maxNoted)] {
		list = append(list, [2]int64{s.From, s.To})
	}
	return list
}

func (n *notes) open() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.f == nil {
		n.f, _ = os.OpenFile(n.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	}
	return n.f != nil
}

func (n *notes) write(place int, what note) bool {
	line, err := json.Marshal(what)
	if err != nil || len(line) >= noteSize {
		return false
	}
	_, err = n.f.WriteAt(append(line, '\n'), int64(place)*noteSize)
	return err == nil
}

func (n *notes) close() {
	n.work.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.f != nil {
		n.f.Close()
		n.f = nil
	}
}

func (n *notes) remove() {
	n.close()
	os.Remove(n.path)
	n.unsaid = 0
}
