# Everything is built by Go alone. `make help` lists the targets.

GO ?= go
PROGRAMS := albatrossd albatross-client albatross-tender albatross-keeper albatross-influx albatross-tls-endpoint
# Those that give up privileges in threads that the network packages need, which Go can do only
# without cgo.
STATIC := albatross-network
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)

# When the source was last changed, in seconds: what is made of it carries that date.
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Everything is built with a crypto/tls that accepts large certificates; see
# sockets/remote/overlay. Tests that build programs inherit this.
OVERLAY := $(CURDIR)/bin/overlay
GOFLAGS_BEFORE := $(GOFLAGS)
export GOFLAGS := $(GOFLAGS_BEFORE) -overlay=$(OVERLAY)/overlay.json

# The race detector needs cgo, and that needs a C compiler.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# What TestManPages makes the manual pages in.
WITH_PAGES := ./test/man $(addprefix ./cmd/,albatrossd albatross-client albatross-influx albatross-tls-endpoint)

# Where the client is to build beside Linux.
CLIENT_SYSTEMS := darwin freebsd
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 1m
# How often `make crash` kills the daemon at random moments.
KILLS ?= 1000

.PHONY: help overlay build man demo test check cover lint vet tidy bench fuzz crash hostile vm-test guests clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

overlay:
	@GOFLAGS='$(GOFLAGS_BEFORE)' $(GO) run ./sockets/remote/overlay "$$($(GO) env GOROOT)" "$(OVERLAY)"

# Tests that run in a network namespace build programs there, where no module can be
# downloaded: their targets depend on this.
build: overlay ## build all programs into bin/
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ $(addprefix ./cmd/,$(STATIC))

# Each page is made by the test that checks it: see test/man.
man: build ## write the manual pages to bin/man, and the completion files to bin/completion
	@rm -rf bin/man bin/completion && mkdir -p bin/completion
	@SOURCE_DATE_EPOCH=$(EPOCH) ALBATROSS_MAN=$(CURDIR)/bin/man $(GO) test -count 1 -run '^TestManPages$$' $(WITH_PAGES)
	@set -e; for shell in bash zsh fish; do bin/albatross-client completion $$shell >bin/completion/albatross-client.$$shell; done

demo: build ## run a unikernel and see that it outlives the daemon
	@$(GO) run ./test/demo

# Not from the cache (-count 1): tests build programs, and go test does not know which
# sources these are made of.
test: build lint ## run all tests, with the race detector where there is a C compiler
	@$(if $(RACE),,echo 'Running without the race detector, which needs a C compiler: install gcc to have it.')
	$(GO) test $(RACE) -count 1 -timeout 30m ./...

# Packages whose tests start no daemon and wait for little. What has not changed since
# comes from the cache.
FAST := ./messages/... $(addprefix ./actors/,console ledger meter network store supervise unikernel) ./cmd/commandline \
	$(addprefix ./sockets/,client control gateway influx metrics wire/...) \
	$(addprefix ./runtime/,block compress cpulist durable fair fifo hvt image keeper/... machine network/lease network/resolve network/stations network/wire proc seccomp seqpacket/... solo5 spt tender/... trust) \
	./test/rules

check: vet build ## gofmt, go vet, build and the fast tests: what to run after each step
	$(GO) test $(FAST)

cover: build ## run all tests, and tell how much of the source they come to
	@mkdir -p bin
	$(GO) test -count 1 -timeout 30m -coverpkg ./... -coverprofile bin/cover.out ./...
	@$(GO) tool cover -func bin/cover.out | tail -n 1
	@echo 'by line: $(GO) tool cover -html bin/cover.out'

lint: vet tidy ## gofmt, go vet, also of the client for other systems, staticcheck and go.mod
	$(GO) tool staticcheck ./...
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
	@cd test/crash && ALBATROSS_CRASH_KILLS=$(KILLS) $(GO) test -v -count 1 -timeout 4h

vm-test: build ## boot a Debian in qemu, and try the units and hvt there (a quarter of an hour)
	@machine=$$(test/vm/prepare.sh) && cd test/vm && ALBATROSS_VM="$$machine" $(GO) test -v -count 1 -timeout 2h

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
