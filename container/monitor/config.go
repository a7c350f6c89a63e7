// Package monitor is the small process beside every running container. It is
// the container's parent: it keeps the output, its terminal and its exit
// status, serves the clients of the attach socket, and cleans up at the end.
// When the monitor dies the kernel kills the container with it.
package monitor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"loper.run/container/logs"
	"loper.run/network/usernet"
	"loper.run/runtime"
)

//go:generate go tool easyjson -no_std_marshalers -output_filename zjson.go config.go
//go:generate sed -i -e "/^\teasyjson \"/d" -e "/_ easyjson.Marshaler/d" zjson.go

// The files of a container that the monitor reads and writes.
const (
	ConfigFile = "monitor.json" // in the container's directory: Config
	ExitFile   = "exit.json"    // in the container's directory: Exit
	LockFile   = "monitor.lock" // in RunDir: locked while the container runs
	StateFile  = "state.json"   // in RunDir: State, while the container runs
	SocketFile = "attach.sock"  // in RunDir: for package attach
)

// Config is monitor.json, written by the engine before it starts a monitor.
//
//easyjson:json
type Config struct {
	ID          string           `json:"id"`
	RunDir      string           `json:"runDir"`
	RuntimeRoot string           `json:"runtimeRoot"`
	Overlay     *runtime.Overlay `json:"overlay,omitempty"`
	Terminal    bool             `json:"terminal,omitempty"`  // as process.terminal of config.json
	OpenStdin   bool             `json:"openStdin,omitempty"` // otherwise the input is /dev/null
	StdinOnce   bool             `json:"stdinOnce,omitempty"` // the end of the first client's input ends the container's; not with a terminal
	Attached    bool             `json:"attached,omitempty"`  // descriptor 4 is the first client, who misses nothing
	Log         logs.Config      `json:"log"`                 // Path "": ctr.log in the container's directory
	Networks    *Networks        `json:"networks,omitempty"`  // set: it may have some, which network.json in RunDir tells
	space       *usernet.Space   // an ordinary user's
	AutoRemove  []string         `json:"autoRemove,omitempty"` // run when the container has ended, unless a client removes it
}

// Networks says where networks are: the directories of a network.Store.
type Networks struct {
	Root    string `json:"root"`
	RunRoot string `json:"runRoot"`
}

// Exit is exit.json, how a container ended.
type Exit struct {
	Code       int       `json:"code"` // 128 + n for signal n
	OOMKilled  bool      `json:"oomKilled"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
}

// State is state.json. It is there when the report pipe is closed.
type State struct {
	Pid       int       `json:"pid"`
	StartTime uint64    `json:"startTime"` // field 22 of /proc/PID/stat, so that a pid of somebody else is told apart
	Monitor   int       `json:"monitor"`   // the monitor's pid
	StartedAt time.Time `json:"startedAt"`
}

// Failure is what the monitor writes to descriptor 3 when the container could
// not be started: 127 the program is not there, 126 it can't be executed, 125
// everything else. When it was started, the descriptor is closed unwritten.
type Failure struct {
	Code  int    `json:"code"`
	Error string `json:"error"`
}

// ReadExit reads exit.json of the container whose directory is dir.
// errors.Is(err, os.ErrNotExist): it has not ended, or its monitor was killed.
func ReadExit(dir string) (e Exit, err error) {
	return e, readJSON(filepath.Join(dir, ExitFile), &e)
}

// ReadState reads state.json of a running container.
func ReadState(runDir string) (s State, err error) {
	return s, readJSON(filepath.Join(runDir, StateFile), &s)
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
