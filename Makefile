# make          static bin/loper, bin/lope, bin/loper-verify and bin/loper-net
# make test     every test, end to end ones included (as root on Debian: installs what they need)
# make test-vm  the tests of what meets the kernel, in virtual machines: cgroup v2, systemd, AppArmor; K=6.1 or K=6.12 for one
# make conformance  OCI's validation suite; of another runtime with RUNTIME=runc
# make bench    the benchmarks, side by side with the peers that are installed
# make lint     gofmt, go vet, staticcheck
# make docs     manual pages and shell completions, from the commands themselves
# make install  programs, manual pages and completions (DESTDIR, PREFIX)

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

export CGO_ENABLED := 0

BUILD_DIR ?= bin

GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X loper.run/internal/version.Version=$(VERSION)
# -buildmode=exe: a position independent program costs 0.3 ms more at every start.
BUILD   := $(GO) build -trimpath -buildmode=exe -ldflags "$(LDFLAGS)"

# TESTFLAGS and PKGS narrow a run: make test PKGS=./test/e2e TESTFLAGS='-run Exec -v'
PKGS      ?= ./...
TESTFLAGS ?=
BENCHFLAGS ?=
VMFLAGS    ?=
VERIFYPKGS ?= $(filter ./...,$(PKGS))
NETPKGS    ?= $(filter ./...,$(PKGS))

.PHONY: all build verify net test test-vm conformance bench lint docs install clean packages

all: build verify net

build:
	$(BUILD) -o $(BUILD_DIR)/loper ./cmd/loper
	$(BUILD) -o $(BUILD_DIR)/lope ./cmd/lope

# Modules of their own: the others neither link nor download what they need.
verify net: %:
	$(BUILD:$(GO)%=$(GO) -C cmd/loper-$@%) -o $(abspath $(BUILD_DIR))/loper-$@ .

packages:
	test/packages test

# Packages run one after the other: the end to end tests compare the whole host before and after.
test: build verify net packages
	{ status=0; \
	$(GO) test -json -p 1 -timeout 20m $(TESTFLAGS) $(PKGS) || status=1; \
	$(if $(VERIFYPKGS),$(GO) -C cmd/loper-verify test -json -timeout 10m $(TESTFLAGS) $(VERIFYPKGS) || status=1;) \
	$(if $(NETPKGS),$(GO) -C cmd/loper-net test -json -timeout 10m $(TESTFLAGS) $(NETPKGS) || status=1;) \
	exit $$status; } | $(GO) run ./test/report

# VMFLAGS='-short' is what .ci/run does; see test/vm for the others.
test-vm:
	test/packages vm
	$(GO) run ./test/vm $(if $(K),-k $(K)) $(VMFLAGS) | $(GO) run ./test/report -skips test/vm/skips

conformance: build
	LOPER_PROGRAMS=$(abspath $(BUILD_DIR)) $(GO) test -count=1 -v ./test/conformance $(if $(RUNTIME),-runtime $(RUNTIME))

bench: build
	test/packages bench
	$(GO) run ./test/bench $(BENCHFLAGS)

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	staticcheck=$$($(GO) tool -n staticcheck); for m in verify net; do (cd cmd/loper-$$m; $(GO) vet ./...; $$staticcheck ./...) || exit; done

docs:
	$(GO) generate ./cmd/loper ./cmd/lope

install: all docs
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/loper bin/lope bin/loper-verify bin/loper-net
	for page in docs/man/*.1; do install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $$page; done
	for p in loper lope; do \
		install -D -m 0644 docs/completion/$$p.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; \
		install -D -m 0644 docs/completion/$$p.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$p; \
		install -D -m 0644 docs/completion/$$p.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$p.fish; \
	done

clean:
	rm -rf bin
