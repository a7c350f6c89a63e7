package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// entry says which function builds a command. Building is what costs, so the
// table holds functions only.
type entry struct {
	path    string // "run", "image ls"
	build   func(*cli) *cobra.Command
	aliases string // further last words, parted by spaces
}

// commands lists every command, as its words after the program's name.
var commands = [...]entry{
	{path: "run", build: newRun},
	{path: "create", build: newCreate},
	{path: "start", build: newStart},
	{path: "stop", build: newStop},
	{path: "restart", build: newRestart},
	{path: "kill", build: newKill},
	{path: "pause", build: newPause},
	{path: "unpause", build: newUnpause},
	{path: "rm", build: newRm},
	{path: "rename", build: newRename},
	{path: "ps", build: newPs},
	{path: "logs", build: newLogs},
	{path: "exec", build: newExec},
	{path: "attach", build: newAttach},
	{path: "wait", build: newWait},
	{path: "top", build: newTop},
	{path: "stats", build: newStats},
	{path: "port", build: newPort},
	{path: "inspect", build: newInspect},
	{path: "images", build: newImages},
	{path: "pull", build: newPull},
	{path: "push", build: newPush},
	{path: "rmi", build: newRmi},
	{path: "tag", build: newTag},
	{path: "untag", build: newUntag},
	{path: "history", build: newHistory},
	{path: "load", build: newLoad},
	{path: "save", build: newSave},
	{path: "import", build: newImport},
	{path: "export", build: newExport},
	{path: "commit", build: newCommit},
	{path: "diff", build: newDiff},
	{path: "login", build: newLogin},
	{path: "logout", build: newLogout},
	{path: "search", build: newSearch},
	{path: "info", build: newInfo},
	{path: "version", build: newVersion},
	{path: "completion", build: newCompletion},
	{path: "monitor", build: newMonitor},

	{path: "container", build: group("Manage containers")},
	{path: "container run", build: newRun},
	{path: "container create", build: newCreate},
	{path: "container start", build: newStart},
	{path: "container stop", build: newStop},
	{path: "container restart", build: newRestart},
	{path: "container kill", build: newKill},
	{path: "container pause", build: newPause},
	{path: "container unpause", build: newUnpause},
	{path: "container rm", build: newRm, aliases: "remove"},
	{path: "container rename", build: newRename},
	{path: "container ls", build: newPs, aliases: "list ps"},
	{path: "container logs", build: newLogs},
	{path: "container exec", build: newExec},
	{path: "container attach", build: newAttach},
	{path: "container wait", build: newWait},
	{path: "container top", build: newTop},
	{path: "container stats", build: newStats},
	{path: "container port", build: newPort},
	{path: "container inspect", build: newContainerInspect},
	{path: "container prune", build: newContainerPrune},
	{path: "container export", build: newExport},
	{path: "container commit", build: newCommit},
	{path: "container diff", build: newDiff},

	{path: "image", build: group("Manage images")},
	{path: "image ls", build: newImages, aliases: "list"},
	{path: "image inspect", build: newImageInspect},
	{path: "image pull", build: newPull},
	{path: "image push", build: newPush},
	{path: "image copy", build: newImageCopy},
	{path: "image rm", build: newRmi, aliases: "remove"},
	{path: "image tag", build: newTag},
	{path: "image untag", build: newUntag},
	{path: "image prune", build: newImagePrune},
	{path: "image sign", build: newImageSign},
	{path: "image verify", build: newImageVerify},
	{path: "image keygen", build: newImageKeygen},
	{path: "image trust", build: newImageTrust},
	{path: "image history", build: newHistory},
	{path: "image tree", build: newImageTree},
	{path: "image mount", build: newImageMount},
	{path: "image unmount", build: newImageUnmount, aliases: "umount"},
	{path: "image load", build: newLoad},
	{path: "image save", build: newSave},
	{path: "image import", build: newImport},
	{path: "image diff", build: newImageDiff},

	{path: "manifest", build: group("Manage lists of images for several platforms")},
	{path: "manifest create", build: newManifestCreate},
	{path: "manifest add", build: newManifestAdd},
	{path: "manifest annotate", build: newManifestAnnotate},
	{path: "manifest inspect", build: newManifestInspect},
	{path: "manifest push", build: newManifestPush},
	{path: "manifest remove", build: newManifestRemove},
	{path: "manifest rm", build: newManifestRm},
	{path: "manifest exists", build: newManifestExists},

	{path: "volume", build: group("Manage volumes")},
	{path: "volume create", build: newVolumeCreate},
	{path: "volume inspect", build: newVolumeInspect},
	{path: "volume ls", build: newVolumeLs, aliases: "list"},
	{path: "volume rm", build: newVolumeRm, aliases: "remove"},
	{path: "volume prune", build: newVolumePrune},

	{path: "network", build: group("Manage networks")},
	{path: "network connect", build: newNetworkConnect},
	{path: "network disconnect", build: newNetworkDisconnect},
	{path: "network create", build: newNetworkCreate},
	{path: "network inspect", build: newNetworkInspect},
	{path: "network ls", build: newNetworkLs, aliases: "list"},
	{path: "network rm", build: newNetworkRm, aliases: "remove"},
	{path: "network prune", build: newNetworkPrune},
	{path: "network reload", build: newNetworkReload},
	{path: "network exists", build: newNetworkExists},

	{path: "registry", build: group("Look at registries")},
	{path: "registry explain", build: newRegistryExplain},

	{path: "system", build: group("Manage Loper")},
	{path: "system info", build: newInfo},
	{path: "system check", build: newSystemCheck},
	{path: "system dedupe", build: newSystemDedupe},
	{path: "system df", build: newSystemDf},
	{path: "system prune", build: newSystemPrune},
}

// group builds a command that only holds others.
func group(short string) func(*cli) *cobra.Command {
	return func(*cli) *cobra.Command {
		return &cobra.Command{Use: "group COMMAND", Short: short, RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		}}
	}
}

// command builds the root command with the one command that args name below
// it, or with all commands when they name none that is known.
func (c *cli) command(args []string) *cobra.Command {
	first, second := firstWords(args)
	root := c.rootCommand()
	if e, ok := lookup(first); ok && first != "" {
		parent := root
		if sub, ok := lookup(first + " " + second); ok && second != "" {
			parent = e.add(c, root)
			e = sub
		} else if isGroup(first) {
			return c.wholeTree(root)
		}
		e.add(c, parent)
		return root
	}
	return c.wholeTree(root)
}

// wholeTree adds every command to root.
func (c *cli) wholeTree(root *cobra.Command) *cobra.Command {
	parents := map[string]*cobra.Command{}
	for _, e := range commands {
		parent := root
		if g, _, ok := strings.Cut(e.path, " "); ok {
			parent = parents[g]
		}
		parents[e.path] = e.add(c, parent)
	}
	return root
}

// add builds the command below parent.
func (e entry) add(c *cli, parent *cobra.Command) *cobra.Command {
	cmd := e.build(c)
	name := e.path[strings.LastIndexByte(e.path, ' ')+1:]
	_, usage, _ := strings.Cut(cmd.Use, " ")
	cmd.Use = strings.TrimRight(name+" "+usage, " ")
	cmd.Aliases = strings.Fields(e.aliases)
	cmd.DisableFlagsInUseLine = true
	if f := cmd.Flags(); f.ShorthandLookup("h") == nil {
		f.BoolP("help", "h", false, "Show this help")
	} else {
		f.Bool("help", false, "Show this help")
	}
	parent.AddCommand(cmd)
	return cmd
}

// lookup finds the command of that path, or of an alias of it.
func lookup(path string) (entry, bool) {
	parent, last, nested := strings.Cut(path, " ")
	for _, e := range commands {
		if e.path == path {
			return e, true
		}
		if !nested || e.aliases == "" || !strings.HasPrefix(e.path, parent+" ") {
			continue
		}
		for _, alias := range strings.Fields(e.aliases) {
			if alias == last {
				return e, true
			}
		}
	}
	return entry{}, false
}

// isGroup reports whether the command only holds others.
func isGroup(name string) bool {
	for _, e := range commands {
		if strings.HasPrefix(e.path, name+" ") {
			return true
		}
	}
	return false
}

// firstWords returns the first two words of args that are neither flags nor values
// of the global flags.
func firstWords(args []string) (first, second string) {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return first, second
		case a == "--root" || a == "--runroot" || a == "--log-level":
			i++
		case strings.HasPrefix(a, "-"):
		case first == "":
			first = a
		default:
			return first, a
		}
	}
	return first, second
}
