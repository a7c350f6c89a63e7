package criu

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// read takes a message apart: the numbers and the bytes of each field.
func read(t *testing.T, m []byte) (numbers map[int]int64, texts map[int][]string) {
	t.Helper()
	numbers, texts = map[int]int64{}, map[int][]string{}
	err := fields(m, func(field int, number uint64, data []byte) error {
		numbers[field] = int64(number)
		texts[field] = append(texts[field], string(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return numbers, texts
}

func TestOptions(t *testing.T) {
	images, work, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer images.Close()
	defer work.Close()
	o := &Options{
		Images: images, Work: work, Pid: 300, Root: "/r", External: []string{"mnt[/a]:/b", "mnt[/c]:/d"}, Cgroups: CgroupSoft,
		InheritFDs: []Inherit{{"pipe:[7]", 9}}, PageServer: "host", PageServerPort: 70000, TCPEstablished: true, EmptyNamespaces: unix.CLONE_NEWNET,
	}
	numbers, texts := read(t, o.encode())
	for field, want := range map[int]int64{1: int64(images.Fd()), 2: 300, 3: 0, 5: 1, 12: 1, 17: int64(work.Fd()), 34: 3, 38: unix.CLONE_NEWNET} {
		if numbers[field] != want {
			t.Errorf("field %d is %d, want %d", field, numbers[field], want)
		}
	}
	if strings.Join(texts[37], " ") != "mnt[/a]:/b mnt[/c]:/d" || texts[13][0] != "/r" || len(texts[14]) != 0 {
		t.Errorf("texts %v", texts)
	}
	numbers, texts = read(t, []byte(texts[27][0]))
	if texts[1][0] != "pipe:[7]" || numbers[2] != 9 {
		t.Errorf("inherited: %v, %v", texts, numbers)
	}
}

// respond makes a criu_resp.
func respond(kind Kind, success int64, more func(*message)) message {
	var m message
	m.number(1, int64(kind))
	m.number(2, success)
	if more != nil {
		more(&m)
	}
	return m
}

func notification(script string, pid int64) message {
	return respond(notify, 1, func(m *message) {
		var n message
		n.text(1, script)
		n.number(2, pid)
		m.message(5, n)
	})
}

func TestCall(t *testing.T) {
	refusal := errors.New("no")
	for name, c := range map[string]struct {
		answers []message
		refuse  error
		want    func(error) bool
	}{
		"success": {[]message{notification("post-restore", 4711), respond(Restore, 1, nil)}, nil, func(err error) bool { return err == nil }},
		"failure": {[]message{respond(Restore, 0, func(m *message) {
			m.number(7, int64(unix.ENOENT))
			m.text(9, "Error (criu/x.c:1): no images;")
		})}, nil, func(err error) bool {
			var e *Error
			return errors.As(err, &e) && e.Errno == syscall.ENOENT && err.Error() == "criu restore failed: no images: no such file or directory"
		}},
		"refused":  {[]message{notification("post-restore", 4711), respond(Restore, 0, nil)}, refusal, func(err error) bool { return err == refusal }},
		"gone":     {nil, nil, func(err error) bool { return errors.Is(err, ErrGone) }},
		"nonsense": {[]message{{0xff}}, nil, func(err error) bool { return errors.Is(err, errWire) }},
		"another":  {[]message{respond(Dump, 1, nil)}, nil, func(err error) bool { return errors.Is(err, errWire) }},
	} {
		ours, theirs := pair(t)
		go func() {
			buf := make([]byte, 4096)
			for _, a := range c.answers {
				unix.Read(int(theirs.Fd()), buf) // the request, or the reply to a notification
				unix.Write(int(theirs.Fd()), a)
			}
			unix.Read(int(theirs.Fd()), buf)
			theirs.Close()
		}()
		err := Call(ours, Restore, &Options{Images: os.Stdin, Work: os.Stdin}, func(n Notification) error {
			if n.Script != "post-restore" || n.Pid != 4711 {
				t.Errorf("%s: notified of %+v", name, n)
			}
			return c.refuse
		})
		if !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(notification("post-restore", 7)))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, m []byte) {
		_ = (&answer{}).decode(m) // it may say no, not crash
	})
}
