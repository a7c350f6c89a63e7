package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits on the Verifier.
const (
	verifierTime   = 30 * time.Second
	maxAnswer      = 8 << 20 // bytes
	verifierMemory = "GOMEMLIMIT=512MiB"
)

// Verifier is the program loper-verify. It checks what needs much code:
// OpenPGP signatures, and certificates of the keyless kind. It is started for
// one question, without network, environment and rights, and believed only
// about that.
type Verifier struct {
	// Program is its path; "" looks at $LOPER_VERIFY, beside this program, and in PATH.
	Program string
}

// question is what is asked; see docs/security.md for who is believed what.
type question struct {
	Kind string `json:"kind"`

	// gpg
	Keys      [][]byte `json:"keys,omitempty"`
	Signature []byte   `json:"signature,omitempty"`

	// keyless: whom to trust, the bundle or the parts of cosign's older form,
	// the digest it must speak of, and who must have signed.
	TrustedRoot json.RawMessage `json:"trustedRoot,omitempty"`
	FulcioCA    []byte          `json:"fulcioCA,omitempty"`
	RekorKeys   [][]byte        `json:"rekorKeys,omitempty"`
	Bundle      json.RawMessage `json:"bundle,omitempty"`
	Payload     []byte          `json:"payload,omitempty"`
	Certificate string          `json:"certificate,omitempty"`
	Chain       string          `json:"chain,omitempty"`
	RekorBundle json.RawMessage `json:"rekorBundle,omitempty"`
	Timestamp   json.RawMessage `json:"timestamp,omitempty"`
	Artifact    string          `json:"artifact,omitempty"`
	Identity    *wanted         `json:"identity,omitempty"`
}

// wanted is who must have signed; empty fields accept anybody.
type wanted struct {
	Issuer    string `json:"issuer,omitempty"`
	SAN       string `json:"san,omitempty"`
	SANRegexp string `json:"sanRegexp,omitempty"`
}

// answer is what came of it. Payload is what was signed.
type answer struct {
	OK          bool   `json:"ok"`
	Error       string `json:"error"`
	Payload     []byte `json:"payload"`
	Fingerprint string `json:"fingerprint"` // gpg
	Signer      string `json:"signer"`      // gpg: the key's user id, its own word
	Issuer      string `json:"issuer"`      // keyless
	SAN         string `json:"san"`         // keyless
}

// errNoVerifier tells that the program is not installed.
var errNoVerifier = errors.New("needs the program loper-verify, which is not installed")

func (v Verifier) program() (string, error) {
	if v.Program != "" {
		return v.Program, nil
	}
	if p := os.Getenv("LOPER_VERIFY"); p != "" {
		return p, nil
	}
	if own, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(own), "loper-verify")
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	p, err := exec.LookPath("loper-verify")
	if err != nil {
		return "", errNoVerifier
	}
	return p, nil
}

// ask starts the program for one question. The error tells that there was no
// answer, or that the answer is no.
func (v Verifier) ask(ctx context.Context, q question) (answer, error) {
	program, err := v.program()
	if err != nil {
		return answer{}, err
	}
	in, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, verifierTime)
	defer cancel()
	out, err := run(ctx, program, in, confined(true))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		if os.Geteuid() == 0 { // a kernel without user namespaces
			out, err = run(ctx, program, in, confined(false))
		}
	}
	if err != nil {
		return answer{}, fmt.Errorf("loper-verify: %w", err)
	}
	var a answer
	dec := json.NewDecoder(bytes.NewReader(out))
	if err := dec.Decode(&a); err != nil {
		return answer{}, fmt.Errorf("loper-verify: its answer: %w", err)
	}
	if !a.OK {
		return answer{}, errors.New(oneLine(a.Error))
	}
	return a, nil
}

// confined is a process without network and without other processes in sight,
// in a user namespace where it is nobody. Root's becomes nobody outside too.
func confined(user bool) *syscall.SysProcAttr {
	const nobody = 65534
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = nobody, nobody
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if user {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: gid, Size: 1}}
		if attr.Credential != nil {
			attr.GidMappingsEnableSetgroups = true
		}
	}
	return attr
}

// run feeds a program and reads a bounded answer.
func run(ctx context.Context, program string, in []byte, attr *syscall.SysProcAttr) ([]byte, error) {
	// By its descriptor: who it runs as may not reach its directory.
	f, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3")
	cmd.Args = []string{filepath.Base(program)}
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = []string{verifierMemory}
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(in)
	cmd.SysProcAttr = attr
	cmd.WaitDelay = time.Second
	said := limited{left: 4 << 10}
	cmd.Stderr = &said
	out := limited{left: maxAnswer, strict: true}
	cmd.Stdout = &out
	err = cmd.Run()
	switch {
	case context.Cause(ctx) != nil:
		return nil, fmt.Errorf("it gave no answer in time: %w", context.Cause(ctx))
	case out.over:
		return nil, errTooMuch
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, oneLine(said.kept.String()))
	}
	return out.kept.Bytes(), nil
}

var errTooMuch = fmt.Errorf("its answer is larger than %d bytes", maxAnswer)

// limited keeps the beginning of what is written. What is more than that is
// dropped, or when it is strict an error, which ends the writer.
type limited struct {
	kept   bytes.Buffer
	left   int
	strict bool
	over   bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.kept.Write(p[:n])
	if n < len(p) && l.strict {
		l.over = true
		return n, errTooMuch
	}
	return len(p), nil
}

// oneLine makes foreign text fit for a message.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
