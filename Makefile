# Waybill. `make help` lists what there is.
#
# Caches live outside the tree, in $WAYBILL_CACHE, or waybill/ in the user's cache folder.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO_HOME := /usr/local/go/bin
export PATH := $(PATH):$(GO_HOME)
export CGO_ENABLED := 0
# The same for whatever is built, run or tested, or each package would be compiled once for each way.
export GOFLAGS := $(sort $(GOFLAGS) -trimpath)
export WAYBILL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/waybill

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/waybill-dev/waybill/internal/cli.version=$(VERSION) -X github.com/waybill-dev/waybill/internal/cli.commit=$(COMMIT)

# Commands that need a running part get it through hack/with.sh: it sets up what is missing, says
# so, and stops what it started.
WITH := hack/with.sh

##@ The two to begin with

.PHONY: demo
demo: ## The main job on a real Odoo: five releases, production working all the while
	$(WITH) build packages docker base -- hack/demo.sh

.PHONY: demo-full
demo-full: ## The demo with rehearsals, a release that real traffic finds too slow, and one that goes back by restore
	$(WITH) build packages docker base -- hack/demo.sh -full -deadline 30m

.PHONY: test
test: ## Everything that guards a change, on real parts; sets up what it needs (about 40 minutes on two cores, more the first time)
	$(WITH) build packages docker base -- hack/test.sh core

##@ Further tests

.PHONY: test-unit
test-unit: ## What needs no root, no Docker and no Odoo, without the long tests, which make test runs
	go test -short ./...

.PHONY: test-all
test-all: ## test, all of the console, cosign, logins at an OpenID provider, pull requests at a forge, the whole kill matrix, all rehearsals and faults, six tenants in rings, an emergency
	$(WITH) build packages docker base -- hack/test.sh all

.PHONY: test-kill
test-kill: ## The kill matrix alone: the server killed at every step, and its parts taken away
	$(WITH) build packages docker base -- hack/test.sh kill

.PHONY: test-openid
test-openid: ## People log in at an OpenID provider (builds it the first time)
	hack/test.sh openid

.PHONY: test-forge
test-forge: ## Pull requests opened and merged at a Gitea, which calls back (builds it the first time: minutes)
	hack/test.sh forge

.PHONY: test-cosign
test-cosign: ## cosign accepts what waybill build attaches (builds cosign the first time: minutes)
	hack/test.sh cosign

.PHONY: test-promtool
test-promtool: ## Promtool accepts metrics, alert rules and dashboards (takes it out of a Debian package the first time)
	hack/test.sh promtool

.PHONY: test-rehearsal
test-rehearsal: ## The corpus of changes, each rehearsed on a real Odoo (about 20 minutes)
	$(WITH) build packages docker base -- hack/test.sh rehearsal

.PHONY: test-tenants
test-tenants: ## Six tenants in three rings on a real Odoo: a good release passes, one that fails stops and is resumed; isolation, templates, restore of one (about 20 minutes)
	$(WITH) build packages docker base -- hack/test.sh tenants

.PHONY: test-console
test-console: ## The console in Chromium: every page, who may do what, axe, and the demo's story on a real Odoo; screenshots
	$(WITH) build packages docker base -- hack/test.sh console

.PHONY: test-emergency
test-emergency: ## The glass broken on a real Odoo: a frozen production, a second person, a review (about five minutes)
	$(WITH) build packages docker base -- hack/test.sh emergency

.PHONY: test-faults
test-faults: ## Releases that fail in business alone, promoted on a real Odoo: each goes back; ten good ones stay (about 50 minutes)
	$(WITH) build packages docker base -- hack/test.sh faults

.PHONY: test-kube
test-kube: ## The demo's story on a real Kubernetes, make cluster's, stopped afterwards, or yours (docs/kubernetes.md): Odoo in pods behind Traefik (15 minutes; the first time 41)
	$(WITH) build cluster packages base -- hack/test.sh kube

.PHONY: test-kube-all
test-kube-all: ## There too: the story of demo-full, the conformance suite of runtimes, what runs in Git, rehearsals, Waybill's own chart, chaos, a pool that grows when it is busy, and the story with filestores in object storage (an hour and a half)
	$(WITH) build cluster packages base -- hack/test.sh kube-all

.PHONY: fuzz
fuzz: ## Each fuzz target for half a minute
	hack/fuzz.sh 30s

.PHONY: bench
bench: ## Ratios against what one would do without Waybill
	$(WITH) build packages docker base -- hack/test.sh bench

.PHONY: bench-judge
bench-judge: ## The judge against fixed thresholds and Mann-Whitney: false rollbacks, time to find harm
	go run ./test/bench/judge

.PHONY: bench-signals
bench-signals: ## What it costs to time a call, on real Odoo (less than 50 µs)
	$(WITH) build packages docker base -- hack/test.sh bench-signals

.PHONY: bench-build
bench-build: ## Ratios of building alone: a changed module against docker build, manifests against Python
	$(WITH) build packages docker base -- hack/test.sh bench-build

.PHONY: bench-rehearsal
bench-rehearsal: ## What a rehearsal costs and foretells: trace, blocked time, memory (about 20 minutes; WAYBILL_BENCH=trace: one part)
	$(WITH) build packages docker base -- hack/test.sh bench-rehearsal

.PHONY: bench-tenants
bench-tenants: ## 500, 2,000 and 10,000 declared tenants: reconcile, impact, plan, move; 200 at once under two servers of which one is killed
	go test -run '^$$' -bench '^BenchmarkTenants$$' -benchtime 1x -timeout 60m ./internal/promotion
	WAYBILL_TEST_ROLLOUTS=200 go test -count=1 -v -run '^TestTwoServers$$' ./internal/promotion

.PHONY: bench-api
bench-api: ## 200 open consoles on a promotion in flight, 10,000 in history: p99 of list and promotion, events, memory
	go test -run '^$$' -bench '^BenchmarkConsoles$$' -benchtime 1x -timeout 20m ./internal/api

.PHONY: bench-ledger
bench-ledger: ## Entries of the ledger appended and verified in a second, beside plain INSERTs
	go test -run '^$$' -bench '^BenchmarkLedger$$' -benchtime 1x ./internal/ledger

##@ Build and check

.PHONY: build
build: console ## The static binary bin/waybill, with the console in it
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/waybill ./cmd/waybill

.PHONY: console
console: ## The web console alone, where its sources have changed; installs Node.js where there is none
	hack/console.sh build

.PHONY: image
image: build ## The image of the server, as an OCI layout in bin/image, or pushed: make image IMAGE=HOST/REPOSITORY:TAG (as root, the first time)
	base=$$(hack/image/base.sh) && go run ./hack/image -base "$$base" $(if $(IMAGE),-push "$(IMAGE)",-out bin/image)

.PHONY: base
base: ## The base image, a real Odoo from Debian's packages, into the cache
	$(WITH) packages -- hack/base/build.sh

.PHONY: generate
generate: ## The generated files anew: docs/schemas, docs/roles.md, docs/metrics.md
	go generate ./internal/estate ./internal/identity ./internal/api ./internal/telemetry

.PHONY: verify
verify: ## Format, lint, generated files, the Helm chart, notes; ends with a clean work tree (builds staticcheck and Helm the first time)
	hack/verify.sh

##@ A cluster to try things on

.PHONY: cluster
cluster: ## A real Kubernetes of one node on this machine, with a registry (root; a minute, the first time half an hour: it builds Kubernetes)
	hack/cluster.sh up

.PHONY: cluster-down
cluster-down: ## Stop it and remove what it has stored; what was built stays in the cache
	hack/cluster.sh down

##@ Tidy up

.PHONY: stop
stop: ## Stop the Docker Engine that the set-up started, if it did
	hack/setup.sh stop

.PHONY: clean
clean: ## Remove what was built in the tree
	rm -rf bin web/dist web/node_modules test/console/node_modules
	find internal/console/dist -mindepth 1 ! -name .gitkeep -delete

.PHONY: clean-cache
clean-cache: stop ## Remove the cache too: base image, tools; the next run is a cold one
	rm -rf -- "$(WAYBILL_CACHE)"

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
