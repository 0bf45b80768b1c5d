# BAT OS. The two commands a newcomer needs: make run, make test.
GO      ?= go
NPM     ?= npm
SHELL   := /bin/bash
ONLY    ?= .
RACE_PKGS = $(shell $(GO) list ./... | grep -v -e /internal/ggml -e /internal/quarantine -e /internal/mind/llama -e /internal/forge -e /seedmind -e /cmd/ -e /bench)
export CGO_ENABLED = 0
# Random tests start from a seed of their own choice when run by hand, from this one in CI: a red run can be run again.
test race: export RAPID_SEED ?= 8

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

node_modules/.package-lock.json: package.json package-lock.json
	@command -v $(NPM) >/dev/null || { echo "npm is missing: install Node.js 20 or newer"; exit 1; }
	$(NPM) ci --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: engine
engine: node_modules/.package-lock.json ## install the pinned engine libraries through npm

.PHONY: build
build: engine ## build ./batos
	$(GO) build -trimpath -o batos ./cmd/batos

.PHONY: run
run: build ## awaken ./live_image (or resume it) and serve
	./batos up

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: test
test: engine lint ## everything CI runs
	$(GO) tool gotestsum --format pkgname --packages ./... -- -count=1 -timeout 15m
	@$(MAKE) --no-print-directory race

.PHONY: race
race: ## the tests under the race detector (needs gcc; leaves out the engine and the trial process, whose memory is bounded)
	@if command -v gcc >/dev/null; then CGO_ENABLED=1 $(GO) tool gotestsum --format pkgname --packages "$(RACE_PKGS)" -- -race -short -count=1 -timeout 15m; \
	else echo "race: skipped, gcc is missing"; fi

.PHONY: soak
soak: SOAK ?= 2h
soak: build engine ## two hours of moderate work through all doors; memory, descriptors and the slowest per cent must stay (SOAK=10m: shorter)
	BATOS_SOAK=$(SOAK) BATOS_SOAK_FILE=$(CURDIR)/bench/soak.txt BATOS_SOAK_PROGRAM=$(CURDIR)/batos $(GO) test -count=1 -v -timeout 0 -run "^TestSoak$$" ./cmd/batos

.PHONY: fuzz
fuzz: FUZZTIME ?= 30s
fuzz: ## each fuzz test for a while: what it finds lies in testdata/fuzz (FUZZTIME=10m, ONLY=regexp of the names)
	@grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u | while read d; do \
		grep -ho '^func Fuzz[A-Za-z0-9]*' $$d/*_test.go | cut -c6- | grep -E '$(ONLY)' | while read f; do \
		echo "$$d $$f"; $(GO) test $$d -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; done || exit 1; done

.PHONY: test-long
test-long: engine ## the long, seeded suites: crash points, kill -9
	BATOS_LONG=1 $(GO) test -count=1 -timeout 120m ./...

.PHONY: bench
bench: build ## figures as ratios; ONLY=regexp runs some
	$(GO) run ./bench -only '$(ONLY)'

.PHONY: bench-personas
bench-personas: engine ## what each step of a mission adds, with the shipped model
	$(GO) run ./bench -only '^personas'

.PHONY: seedmind
seedmind: engine ## train the shipped model again, from its seed (hours)
	$(GO) run ./seedmind/cmd/seedmind train

.PHONY: seedmind-eval
seedmind-eval: engine ## evaluate the shipped model
	$(GO) run ./seedmind/cmd/seedmind eval

.PHONY: seedmind-adapters
seedmind-adapters: engine ## train the personas' adapters of the shipped model (a quarter of an hour)
	$(GO) run ./seedmind/cmd/seedmind adapters

.PHONY: seedmind-adapters-eval
seedmind-adapters-eval: engine ## each adapter at each persona's held-out work, beside the bare model
	$(GO) run ./seedmind/cmd/seedmind adapters-eval

.PHONY: clean
clean: ## remove what was built (never an image)
	rm -rf batos node_modules bench/results.jsonl
