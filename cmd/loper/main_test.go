package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"loper.run/internal/userns"
)

var update = flag.Bool("update", false, "write the expected texts of scripts, manual pages and completions anew")

// The test binary is also the program under test: testscript starts it as
// loper, that starts it again as the monitor and as workers in the user
// namespace, and it is the program of the image hello.
func TestMain(m *testing.M) {
	registerWorkers()
	userns.Main()
	switch filepath.Base(os.Args[0]) {
	case "loper", "hello", "docker-init":
		main()
		os.Exit(0)
	}
	testscript.Main(m, map[string]func(){"loper": main})
}

// TestScripts runs the scenarios of testdata: one file each, its name beginning
// with the command that it is about.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "eventually": eventually,
		},
	})
}
