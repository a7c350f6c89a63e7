// Vm runs the tests of packages in a virtual machine: on cgroup v2, with systemd and AppArmor or without, on kernels that
// the machine at hand does not have. The test programs are built here and run there. It prints what go test -json would;
// test/report reads that.
//
//	go run ./test/vm -k 6.1 -init plain [-short] [-run REGEXP] PACKAGE... | go run ./test/report
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// machine is one start of the virtual machine.
type machine struct {
	kernel  string // 6.1 or 6.12
	systemd bool   // process 1 is systemd, else a script
}

// usual are the machines of a whole run: the newest kernel with all that a distribution starts, and the oldest bare.
var usual = []machine{{"6.12", true}, {"6.1", false}}

// packages are those whose tests meet the kernel, the runtime's own first.
var packages = []string{"runtime/cgroup", "runtime", "cmd/lope", "launch", "container/monitor", "container",
	"internal/netlink", "network/link", "network/kernel", "network/firewall"}

// only are the tests that a package has for the machine, of packages whose others find the same anywhere.
var only = map[string]string{"network/firewall": "^TestReal"}

// shortPackages is how many of them a short run takes.
const shortPackages = 3

// shortSkip are tests that a short run leaves out: they try much, and find the same on any kernel.
const shortSkip = "^TestRace|^TestFakeNull|^TestImageWithLinks|^TestHostMountsNeverChange|" +
	"^TestBadConfig|^TestNoConfig|^TestIDs|^TestDamagedState|^TestForeign|^TestDeleteAnyway"

func main() {
	kernel := flag.String("k", "", "only this kernel: 6.1 or 6.12")
	initial := flag.String("init", "", "process 1: systemd or plain")
	short := flag.Bool("short", false, "the runtime's packages on one machine, with go test -short")
	run := flag.String("run", "", "only tests that match, as go test -run")
	limit := flag.Duration("timeout", 20*time.Minute, "for a machine's whole life")
	flag.Parse()
	names := flag.Args()
	switch {
	case len(names) == 0 && *short:
		names = packages[:shortPackages]
	case len(names) == 0:
		names = packages
	}
	flags := []string{"-test.v=test2json", "-test.timeout=10m"}
	if *short {
		flags = append(flags, "-test.short", "-test.skip="+shortSkip)
	}
	if *run != "" {
		flags = append(flags, "-test.run="+*run)
	}
	machines, err := choose(*kernel, *initial, *short)
	if err == nil {
		err = runAll(machines, names, flags, *limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/vm:", err)
		os.Exit(1)
	}
}

// choose is the list of machines that the flags ask for.
func choose(kernel, initial string, short bool) ([]machine, error) {
	if initial != "" && initial != "systemd" && initial != "plain" {
		return nil, fmt.Errorf("-init %s: systemd and plain are known", initial)
	}
	var list []machine
	for _, m := range usual {
		if kernel == "" || kernel == m.kernel {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("-k %s: 6.1 and 6.12 are known", kernel)
	}
	if short {
		list = list[len(list)-1:]
	}
	for i := range list {
		if initial != "" {
			list[i].systemd = initial == "systemd"
		}
	}
	return list, nil
}

func runAll(machines []machine, names, flags []string, limit time.Duration) error {
	job, err := newJob(names)
	if err != nil {
		return err
	}
	defer job.remove()
	for _, m := range machines {
		image, err := image(m.kernel)
		if err != nil {
			return err
		}
		if err := job.pack(m, names, flags); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		err = boot(ctx, m, image, job)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

// String is how the report names the machine.
func (m machine) String() string {
	if m.systemd {
		return m.kernel + " systemd"
	}
	return m.kernel + " plain"
}

// progress tells people what takes so long; the results go to standard output.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "== "+strings.TrimSuffix(format, "\n")+"\n", args...)
}
