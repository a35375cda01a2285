SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 ...` names another.
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# Words handed on to the command behind a target, as in `make up ARGS="--api-port 9002"`.
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: $(VENV)/.runtime ## Run the whole stack in the foreground; Ctrl-C ends it, the next start continues
	@exec $(BIN)/nexus up $(ARGS)

.PHONY: down
down: $(VENV)/.runtime ## End a running stack
	@$(BIN)/nexus down $(ARGS)

.PHONY: demo
demo: $(VENV)/.runtime ## Send trades of each kind through the stack and show their lives
	@exec $(BIN)/nexus demo $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## Run the tests, those with the whole stack included
	@$(BIN)/python -m pytest -m "not long" $(ARGS)

.PHONY: long
long: $(VENV)/.dev ## Run the tests that take minutes each: frozen workers, real kills
	@$(BIN)/python -m pytest -m long $(ARGS)

.PHONY: check
check: static ## Run the static checks and the tests without the whole stack
	@$(BIN)/python -m pytest -m "not e2e and not long" $(ARGS)

.PHONY: static
static: $(VENV)/.dev ## Run the formatter, the linter, the type checker and the import rules
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: audit
audit: $(VENV)/.dev ## Ask the public lists of holes about every package, and list all of them: needs the network
	@$(BIN)/cyclonedx-py environment --output-reproducible --output-file .nexus/sbom.json $(BIN)/python
	@echo "what is installed: .nexus/sbom.json (CycloneDX)"
	@$(BIN)/pip-audit --disable-pip --require-hashes --requirement requirements.lock

.PHONY: format
format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

.PHONY: bench
bench: $(VENV)/.dev ## Measure a trade on the embedded stack against its floor
	@exec $(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.runtime ## Rehearse crashes by seed and judge the books: make chaos ARGS="--runs 10000"
	@exec $(BIN)/nexus chaos $(ARGS)

.PHONY: install
install: $(VENV)/.runtime ## Install what `make up` needs

LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: $(VENV)/.uv ## Pin the newest allowed packages anew: make lock [ARGS=--upgrade]
	@$(LOCK) $(ARGS) pyproject.toml --extra embedded --extra dev --output-file requirements-dev.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra embedded --constraints requirements-dev.lock --output-file requirements.lock
	@echo uv | $(LOCK) $(ARGS) - --output-file requirements-uv.lock

# uv installs the pinned packages some twenty times faster than pip. Where it cannot, pip does it.
define install
	@echo "installing the packages of $(1)"
	@$(UV) pip sync --python $(BIN)/python --require-hashes $(1) \
		|| { echo "uv could not; installing with pip, which takes a minute"; \
		$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement $(1); }
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . \
		|| $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing; name one with PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.uv: requirements-uv.lock | $(VENV)/.python
	@echo "installing uv"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --upgrade \
		--target $(VENV)/uv --requirement requirements-uv.lock || echo "uv is not to be had here"
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.uv
	$(call install,requirements.lock)

# The development lock holds the runtime lock's packages and more, so what it installs serves both.
$(VENV)/.dev: requirements-dev.lock pyproject.toml $(VENV)/.runtime
	$(call install,requirements-dev.lock)
