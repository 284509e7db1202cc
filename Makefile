# Everything is built by Go alone. `make help` lists the targets.

GO ?= go
PROGRAMS := albatrossd albatross-client albatross-tender albatross-keeper albatross-influx albatross-tls-endpoint
# Those that give up privileges in threads that the network packages need, which Go can do only
# without cgo.
STATIC := albatross-network
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)

# When the source was last changed, in seconds: what is made of it carries that date.
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# What packages are called. Between releases it is lower than any of them, and grows with each commit.
PACKAGE_VERSION := $(subst -,+,$(if $(findstring .,$(VERSION)),$(VERSION:v%=%),0~git$(EPOCH).$(VERSION)))

# Everything is built with a crypto/tls that accepts large certificates; see
# sockets/remote/overlay. Tests that build programs inherit this.
OVERLAY := $(CURDIR)/bin/overlay
# A make within this one has it already.
ifeq ($(origin GOFLAGS_BEFORE),undefined)
export GOFLAGS_BEFORE := $(GOFLAGS)
endif
export GOFLAGS := $(GOFLAGS_BEFORE) -overlay=$(OVERLAY)/overlay.json

# The race detector needs cgo, and that needs a C compiler.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# What TestManPages makes the manual pages in.
WITH_PAGES := ./test/man $(addprefix ./cmd/,albatrossd albatross-client albatross-influx albatross-tls-endpoint)

# Where the client is to build beside Linux.
CLIENT_SYSTEMS := darwin freebsd
# What the programs are to build for.
ARCHITECTURES := amd64 arm64
# The packages with files for one of them: what staticcheck sees in all others is the same for each.
OF_ARCHITECTURES := $(sort $(dir $(wildcard $(addprefix */*/*_,$(addsuffix *.go,$(ARCHITECTURES))))))
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 1m
# How often `make crash` kills the daemon at random moments.
KILLS ?= 1000

# A module of its own: the libraries of Kubernetes reach nothing else.
KUBELET := cmd/albatross-kubelet

.PHONY: help overlay build kubernetes test-kubernetes man install stage packages deb rpm tarball demo test check cover lint vet tidy bench fuzz crash chaos soak hostile vm-test package-test guests clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

overlay:
	@GOARCH= GOFLAGS='$(GOFLAGS_BEFORE)' $(GO) run ./sockets/remote/overlay "$$($(GO) env GOROOT)" "$(OVERLAY)"

# Tests that run in a network namespace build programs there, where no module can be
# downloaded: their targets depend on this.
build: overlay ## build all programs into bin/; with GOARCH=arm64, for that processor
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ $(addprefix ./cmd/,$(STATIC))

kubernetes: overlay ## build albatross-kubelet, which makes a host a node of Kubernetes, into bin/
	@mkdir -p bin
	cd $(KUBELET) && for arch in $(ARCHITECTURES); do GOARCH=$$arch CGO_ENABLED=0 $(GO) vet ./... || exit 1; done && $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(CURDIR)/bin/ .

# The control plane is built without what we change in crypto/tls, as its makers do.
test-kubernetes: build kubernetes ## try hosts as nodes of a real control plane, which takes a quarter of an hour to build, once
	@command -v etcd >/dev/null || { echo 'etcd is needed: install etcd-server'; exit 1; }
	@programs=$$(GOFLAGS='$(GOFLAGS_BEFORE)' $(KUBELET)/controlplane/build.sh) && cd $(KUBELET) && \
		ALBATROSS_KUBERNETES="$$programs" $(GO) test -v -count 1 -timeout 1h ./cluster

# Each page is made by the test that checks it: see test/man.
man: build ## write the manual pages to bin/man, and the completion files to bin/completion
	@rm -rf bin/man bin/completion && mkdir -p bin/completion
	@SOURCE_DATE_EPOCH=$(EPOCH) ALBATROSS_MAN=$(CURDIR)/bin/man $(GO) test -count 1 -run '^TestManPages$$' $(WITH_PAGES)
	@set -e; for shell in bash zsh fish; do bin/albatross-client completion $$shell >bin/completion/albatross-client.$$shell; done

# Where `make install` puts the programs of BUILT. Units are changed to name that directory.
PREFIX ?= /usr/local
DESTDIR ?=
BUILT ?= bin
share := $(DESTDIR)$(PREFIX)/share
units := $(wildcard packaging/systemd/*.service packaging/systemd/*.socket)

install: ## install what `make man` has made to DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(share)/man/man1 $(share)/man/man8
	install $(addprefix $(BUILT)/,$(PROGRAMS) $(STATIC)) $(DESTDIR)$(PREFIX)/bin
	@set -e; for unit in $(units); do \
		sed 's,/usr/local/bin/,$(PREFIX)/bin/,g' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; \
	done
	install -D -m 644 packaging/systemd/albatross.sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/albatross.conf
	install -D -m 644 packaging/systemd/albatross.tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/albatross.conf
	@test -e $(DESTDIR)/etc/albatross/albatrossd.toml || install -D -m 644 packaging/albatrossd.toml $(DESTDIR)/etc/albatross/albatrossd.toml
	@set -e; for page in bin/man/*; do \
		gzip -9n <$$page >$(share)/man/man$${page##*.}/$${page##*/}.gz; \
	done
	install -D -m 644 bin/completion/albatross-client.bash $(share)/bash-completion/completions/albatross-client
	install -D -m 644 bin/completion/albatross-client.fish $(share)/fish/vendor_completions.d/albatross-client.fish
	install -D -m 644 bin/completion/albatross-client.zsh $(share)/zsh/site-functions/_albatross-client
	install -d $(share)/doc/albatross-go
	install -m 644 README.md CHANGELOG.md docs/*.md packaging/grafana/albatross.json $(share)/doc/albatross-go
	install -m 644 LICENSE $(share)/doc/albatross-go/copyright

# The programs of packages need no library of the machine that they are installed on.
PACKAGE_ARCH ?= amd64
STATIC_BUILD := CGO_ENABLED=0 GOOS=linux GOARCH=$(PACKAGE_ARCH) $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
NFPM := SOURCE_DATE_EPOCH=$(EPOCH) PACKAGE_ARCH=$(PACKAGE_ARCH) PACKAGE_VERSION='$(PACKAGE_VERSION)' $(GO) tool -modfile=packaging/nfpm/go.mod nfpm package --config packaging/nfpm/nfpm.yaml
PACKAGES ?= bin/packages
package := $(PACKAGES)/albatross-go-$(PACKAGE_VERSION)-linux-$(PACKAGE_ARCH)

stage: man
	@rm -rf bin/stage && mkdir -p bin/static $(PACKAGES)
	$(STATIC_BUILD) -o bin/static/ $(addprefix ./cmd/,$(PROGRAMS) $(STATIC))
	@$(MAKE) -s install DESTDIR=bin/stage PREFIX=/usr BUILT=bin/static

packages: ## make all of them, for each of ARCHITECTURES, in PACKAGES (bin/packages)
	@set -e; for arch in $(ARCHITECTURES); do $(MAKE) deb rpm tarball PACKAGE_ARCH=$$arch; done

deb: stage ## make a package for Debian, of PACKAGE_ARCH (amd64)
	$(NFPM) --packager deb --target $(PACKAGES)/

rpm: stage ## make a package for systems with rpm
	$(NFPM) --packager rpm --target $(PACKAGES)/

tarball: stage ## make an archive of what packages install
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(EPOCH) --transform='s,^\.,$(notdir $(package)),' -C bin/stage -c . | gzip -9n >$(package).tar.gz

demo: build ## run a unikernel and see that it outlives the daemon
	@$(GO) run ./test/demo

# Not from the cache (-count 1): tests build programs, and go test does not know which
# sources these are made of.
test: build lint ## run all tests, with the race detector where there is a C compiler
	@$(if $(RACE),,echo 'Running without the race detector, which needs a C compiler: install gcc to have it.')
	$(GO) test $(RACE) -count 1 -timeout 30m ./...
	cd $(KUBELET) && $(GO) test -count 1 -timeout 10m ./...

# Packages whose tests start no daemon and wait for little. What has not changed since
# comes from the cache.
FAST := ./messages/... $(addprefix ./actors/,console ledger meter network store supervise unikernel) ./cmd/commandline \
	$(addprefix ./sockets/,builds client control gateway influx metrics registry wire/...) \
	$(addprefix ./runtime/,block compress cpulist durable fair fifo hvt image keeper/... machine network/lease network/resolve network/stations network/wire proc seccomp seqpacket/... solo5 spt tender/... trust) \
	./test/rules

check: vet build ## gofmt, go vet, build and the fast tests: what to run after each step
	$(GO) test $(FAST)

cover: build ## run all tests, and tell how much of the source they come to
	@mkdir -p bin
	$(GO) test -count 1 -timeout 30m -coverpkg ./... -coverprofile bin/cover.out ./...
	@$(GO) tool cover -func bin/cover.out | tail -n 1
	@echo 'by line: $(GO) tool cover -html bin/cover.out'

lint: vet tidy ## gofmt, go vet and staticcheck for each processor, go vet of the client for other systems, and go.mod
	$(GO) tool staticcheck ./...
	@staticcheck=$$($(GO) tool -n staticcheck) && for arch in $(filter-out $(shell $(GO) env GOARCH),$(ARCHITECTURES)); do echo "vet and staticcheck for $$arch"; \
		GOARCH=$$arch CGO_ENABLED=0 $(GO) vet ./... && GOARCH=$$arch CGO_ENABLED=0 "$$staticcheck" $(addprefix ./,$(OF_ARCHITECTURES)) || exit 1; done
	@set -e; for os in $(CLIENT_SYSTEMS); do echo "vet the client for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./cmd/albatross-client; done

vet: overlay
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted: $$files"; exit 1; }
	$(GO) vet ./...

# Nobody is asked over the network: it is not checked where the module cache has
# no more than what the programs are made of.
tidy: overlay
	@diff=$$(GOPROXY=off $(GO) mod tidy -diff 2>/dev/null) || test -z "$$diff" || { echo "go mod tidy would change:"; echo "$$diff"; exit 1; }

# -p 1: two benchmarks at a time would measure each other. The table of figures that have goals
# comes last, and the target fails if one is missed.
bench: build ## run all benchmarks, and compare the figures of test/bench with their goals
	$(GO) test -p 1 -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -v '/test/bench$$')
	ALBATROSS_FIGURES=$(CURDIR)/bin/figures.md $(GO) test -run '^$$' -bench . -benchmem -timeout 1h ./test/bench

# Go would spend up to a minute on making each new input smaller.
fuzz: build ## run each fuzz target for FUZZTIME
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null | cut -c6-); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$dir" || exit 1; \
		done; \
	done

crash: build ## kill the daemon at every failpoint and KILLS times at random, and count what is lost
	@cd test/chaos && ALBATROSS_CRASH_KILLS=$(KILLS) $(GO) test -v -count 1 -timeout 4h -run '^Test(EveryPoint|RandomMoments|Points)'

chaos: build ## let everything go wrong at the same time for five minutes, and print what did
	@cd test/chaos && ALBATROSS_CHAOS_FOR=5m $(GO) test -v -count 1 -timeout 1h -run '^TestSiege$$'

soak: build ## the same for an hour
	@cd test/chaos && ALBATROSS_CHAOS_FOR=1h $(GO) test -v -count 1 -timeout 3h -run '^TestSiege$$'

vm-test: build ## boot machines in qemu, and try the units, hvt and arm64 there (half an hour)
	@machine=$$(test/vm/prepare.sh) && cd test/vm && ALBATROSS_VM="$$machine" $(GO) test -v -count 1 -timeout 2h

# All is built here: there is no network in the namespace of the tests.
package-test: ## install, upgrade and remove the packages in a Debian of their own (two minutes)
	@rm -rf bin/package-test
	@set -e; for version in 0.1.0 0.2.0; do \
		$(MAKE) -s packages ARCHITECTURES=amd64 VERSION=$$version PACKAGES=bin/package-test/$$version; \
	done
	@root=$$(test/packages/prepare.sh) && cd test/packages && \
		ALBATROSS_ROOT="$$root" ALBATROSS_PACKAGES=$(CURDIR)/bin/package-test $(GO) test -v -count 1 -timeout 30m

# The tests of any package whose names begin with TestHostile: see test/hostile.
hostile: build ## attack at length with messages, certificates, images, load and damage, and print figures
	@rm -f bin/hostile.md
	ALBATROSS_HOSTILE=$(CURDIR)/bin/hostile.md $(GO) test $(RACE) -count 1 -p 1 -timeout 1h -run '^TestHostile' \
		$$(grep -rl --include='*_test.go' '^func TestHostile' . | xargs -n 1 dirname | sort -u)
	@printf '| | |\n|---|---|\n' && cat bin/hostile.md

guests: overlay ## rebuild our own unikernels, which needs gcc
	$(GO) generate ./test/guests

clean: ## remove what build has made
	rm -rf bin
