# The commands of Tradewinds, the same for people, hooks and CI. Each sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# uv may be on PATH already; where it is not, it is put into a folder of its own here.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON ?= python3
VENV := .venv/bin
export PYTHONUNBUFFERED := 1
# Where the system has certificates, uv trusts them, as pip does: a company's proxy may have added its own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS ?= true
endif

.PHONY: help setup demo up down test chaos crash-matrix check format bench

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.uv/bin/uv:
	@echo "Installing uv into .uv (it is not on PATH) …"
	@$(PYTHON) -c 'import sys; sys.exit("Tradewinds needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .uv || { echo "error: $(PYTHON) has no venv module; install it (Debian: apt install python3-venv)."; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv

# The stamp is newer than the lock file once the environment holds what the lock file says.
.venv/.synced: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --locked --quiet
	@touch $@

# Ours is installed in place, so uv does not compile it; with PYTHONDONTWRITEBYTECODE no later start would either.
setup: .venv/.synced ## Set up the locked environment
	@$(VENV)/python -m compileall -q src

demo: setup ## Trade two sessions on the embedded stack (DATA= PAIRS= START= SLOTS= RUNNER=inline KEEP=1)
	@$(VENV)/tradewinds demo $(if $(DATA),--data "$(DATA)") $(if $(PAIRS),--pairs "$(PAIRS)") \
		$(if $(START),--start "$(START)") $(if $(SLOTS),--slots "$(SLOTS)") $(if $(RUNNER),--runner "$(RUNNER)") \
		$(if $(filter 1 yes true,$(KEEP)),--keep)

up: setup ## Start Tradewinds in the background
	@$(VENV)/tradewinds up --detach

down: setup ## Stop what `make up` started
	@$(VENV)/tradewinds down

# Two files at a time: most of a test's time is waiting for servers. Each worker has servers of its own.
test: setup ## Run the whole test suite
	@$(VENV)/pytest -n 2 --dist loadfile --no-loadscope-reorder --benchmark-disable

# One seed with everything it does and sends: make chaos SEEDS=1 FIRST_SEED=123 VERBOSE=1
SEEDS ?= 500
FIRST_SEED ?= 1
JOBS ?= 2
chaos: setup ## Run seeds of the simulation, a line for each that fails (SEEDS= FIRST_SEED= JOBS= VERBOSE=1)
	@$(VENV)/python -m tests.simulation.run --seeds $(SEEDS) --first $(FIRST_SEED) --jobs $(JOBS) \
		$(if $(filter 1 yes true,$(VERBOSE)),--trace)

# All pairs take hours; PART=3/16 is the third of sixteen parts that make the whole.
PART ?= 1/1
crash-matrix: setup ## Kill a slot at every ordered pair of failpoints (PART=3/16 for a sixteenth)
	@CRASH_MATRIX=$(PART) $(VENV)/pytest tests/chaos/test_crash_matrix.py

check: setup ## Format, lint, types, import contracts
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports

format: setup ## Rewrite the code as `make check` wants it
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

bench: setup ## Measure, write benchmarks/results.json, print a table
	@$(VENV)/python -m benchmarks.run
