// Loper-verify checks one signature: simple signing by OpenPGP keys, or a keyless one of sigstore. It is a program of its
// own since these formats take large parsers, which loper should neither carry nor run with its rights: it reads one
// request on stdin, gives up every right it has, and writes one answer to stdout.
package main

import (
	"fmt"
	"io"
	"os"

	"loper.run/internal/version"
)

const usage = `usage: loper-verify < REQUEST

Checks the signature in a request, a JSON object on stdin, and writes a JSON object to stdout: {"ok":true,...} with what
is signed and by whom, or {"ok":false,"error":"..."}. It asks no network, opens no files and trusts nothing but what is
in the request. loper runs it when a policy asks for signatures by GPG keys or for keyless ones.

  --help     this text
  --version  the version
`

// maxRequest limits a request, in bytes: keyrings and attestations are far smaller.
const maxRequest = 16 << 20

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "loper-verify:", oneLine(err))
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 1 && (args[0] == "--version" || args[0] == "-v"):
		_, err := fmt.Fprintln(out, "loper-verify version", version.String())
		return err
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		_, err := io.WriteString(out, usage)
		return err
	case len(args) > 0:
		return fmt.Errorf("unknown argument %q; see loper-verify --help", args[0])
	}
	data, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return err
	}
	if len(data) > maxRequest {
		return fmt.Errorf("a request of more than %d bytes", maxRequest)
	}
	if err := confineSelf(); err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	answer, err := answerTo(data)
	if err != nil {
		return err
	}
	_, err = out.Write(answer)
	return err
}
