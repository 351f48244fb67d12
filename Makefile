# `make help` lists the targets. `make run` and `make test` need Python 3.11 or 3.12 and nothing else.

# The first of these that is a supported Python; PYTHON=... says which instead.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := web worker shared cli clients
CHECKED := $(PACKAGES) tests bench training bin demo

# A stamp is named by the checksum of the lock and of what links this folder: the same is installed once.
sum = $(shell cat $(1) 2>/dev/null | cksum | tr ' ' '-')
RUN_STAMP := $(VENV)/stamps/run-$(call sum,requirements/torch.txt requirements/worker.lock bin/link.py)
DEV_STAMP := $(VENV)/stamps/dev-$(call sum,requirements/torch.txt requirements/dev.lock bin/link.py)

# Number of test files that run side by side: most of their time they wait for servers to start.
SIDE ?= 3

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: $(RUN_STAMP) ## Install what is missing, start everything, import the demo; Ctrl-C stops it
	@exec $(BIN)/vitrine up

# What is not quick; the markers are explained in pyproject.toml.
SLOW := services or browser or faults or long or slow
PYTEST = $(BIN)/python -m pytest --numprocesses $(SIDE) --dist loadfile --no-loadscope-reorder

# The whole suite is the quick tests, whose coverage is measured, and the slow ones; both run in any case.
.PHONY: test
test: $(DEV_STAMP) ## Install what is missing and run the whole test suite
	@echo "== tests: real Redis, Milvus, PostgreSQL and browser; ARGS='-k name' chooses some, SIDE=0 runs one at a time"
ifeq ($(strip $(ARGS)),)
	@status=0; $(MAKE) --no-print-directory coverage || status=$$?; \
		$(MAKE) --no-print-directory test-slow || status=$$?; exit $$status
else
	@$(PYTEST) $(ARGS)
endif

# These do not wait for servers: one process a core is enough, and each reads all tests first.
test-quick: SIDE := auto

.PHONY: test-quick
test-quick: $(DEV_STAMP) ## Run the tests that start no server, browser or model: a minute
	@$(PYTEST) -m "not ($(SLOW))" $(ARGS)

.PHONY: test-slow
test-slow: $(DEV_STAMP) ## Run the tests that test-quick leaves out
	@$(PYTEST) -m "$(SLOW)" $(ARGS)

.PHONY: coverage
coverage: ## Run the quick tests and fail below the coverage that pyproject.toml requires
	@$(MAKE) --no-print-directory test-quick ARGS="--cov --cov-report=term:skip-covered $(ARGS)"

.PHONY: lint
lint: $(DEV_STAMP) ## Check style, types, import rules, spelling and prose
	@echo "== ruff" && $(BIN)/ruff check $(CHECKED) && $(BIN)/ruff format --check $(CHECKED)
	@echo "== mypy" && $(BIN)/mypy
	@echo "== import rules" && PYTHONPATH=.:clients/python $(BIN)/lint-imports
	@echo "== codespell" && $(BIN)/codespell $(PACKAGES) tests bench training docs *.md
	@echo "== prose" && $(BIN)/python bin/prose.py docs *.md && \
		$(BIN)/python bin/prose.py --words $(PACKAGES) bench training docker docker-compose.yml

.PHONY: check
check: lint test ## lint and test

.PHONY: chaos
chaos: $(DEV_STAMP) ## Run an hour of mixed traffic under faults; ARGS='--minutes 10' makes it shorter
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: bench
bench: $(DEV_STAMP) ## Run the benchmarks; results go to bench/results
	@set -e; for each in bench/bench_*.py; do \
		[ -e "$$each" ] || { echo "There are no benchmarks in bench/."; exit 1; }; \
		echo "== $$each"; $(BIN)/python "$$each"; done

.PHONY: lock
lock: $(DEV_STAMP) ## Resolve requirements/*.in into the lock files
	@$(BIN)/python bin/lock.py

.PHONY: words
words: $(DEV_STAMP) ## Collect the pages' texts, and compile the translations in web/locales
	@$(BIN)/python bin/words.py

.PHONY: clients
clients: $(DEV_STAMP) ## Build the TypeScript client and the widget; needs npm
	@$(BIN)/python bin/clients.py

.PHONY: clean
clean: ## Remove the virtual environment and caches; the data in .vitrine stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .coverage.* htmlcov
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Vitrine needs Python 3.11 or 3.12, and none was found: install one," \
		"or name it: make run PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "$(PYTHON) is not Python 3.11 or 3.12: name one that is, make run PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

# torch comes first and by itself: its builds for CPU and CUDA cannot share one list of hashes.
define install
	@$(BIN)/python bin/install.py torch --requirement requirements/torch.txt
	@$(BIN)/python bin/install.py "$(1)" --no-deps --require-hashes --requirement $(1)
	@$(BIN)/python bin/link.py
	@mkdir -p $(VENV)/stamps && rm -f $(VENV)/stamps/$(2)-* && touch $@
endef

$(RUN_STAMP): $(BIN)/python
	$(call install,requirements/worker.lock,run)

$(DEV_STAMP): $(BIN)/python
	$(call install,requirements/dev.lock,dev)
