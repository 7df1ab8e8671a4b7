# Everything that people, the commit hook and the build machine run. Needs Python 3.11 or later with venv and pip, and make.

PYTHON ?= python3
SEEDS ?= 1000
FUZZ_SECONDS ?= 60
# More than cores: the tests with processes mostly wait.
WORKERS ?= 4

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ENGINE := $(VENV)/.engine
# A test that hangs fails, showing where every thread is: one that waits for ever tells nobody anything. Where that does not end it, its process ends, and
# is not replaced: the tests that it had left would be waited for without end.
TEST_TIMEOUT_S ?= 300
PYTEST = $(BIN)/python -m pytest -ra --timeout $(TEST_TIMEOUT_S) --timeout-method signal
SPREAD = -n $(WORKERS) --dist loadgroup --max-worker-restart 0

.PHONY: help demo test test-long check format bench simulate fuzz fuzz-engine requirements hooks clean

help:
	@echo "make demo                  set up, then show three peers sharing a recording"
	@echo "make test                  set up, then run all tests (minutes)"
	@echo "make test-long             the same tests with larger numbers, and all failpoints, seeds and fuzzers (hours)"
	@echo "make check                 format, lint, types, layers"
	@echo "make format                put the format right"
	@echo "make bench                 measure"
	@echo "make simulate SEEDS=1000   what events cost with 10, 100 and 1000 peers; then the protocol under that many seeds of each kind"
	@echo "make fuzz FUZZ_SECONDS=60  coverage-guided input for everything that reads bytes from elsewhere, so long for each reader"
	@echo "make fuzz-engine           set up what that needs, and nothing else does"
	@echo "make requirements          pin the requirements anew"
	@echo "make hooks                 run make check before each commit in this clone"

# One environment for all targets. The stamp is older than what it was made from only when there is something to do.
$(READY): requirements/dev.txt pyproject.toml peer/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit("recmesh needs Python 3.11 or later; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY)
	$(BIN)/recmesh demo

test: $(READY)
	$(PYTEST) $(SPREAD)

test-long: TEST_TIMEOUT_S = 14400
test-long: $(READY)
	RECMESH_TEST_LONG=1 $(PYTEST) $(SPREAD)
	$(MAKE) simulate SEEDS=$(SEEDS)
	$(MAKE) fuzz

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m bench

simulate: $(READY)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# The engine is no part of the environment that everything else needs: there is none for some machines.
$(ENGINE): $(READY) requirements/fuzz.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $(ENGINE)

fuzz-engine: $(ENGINE)

fuzz: $(ENGINE)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# pip-tools is no part of the environment: it is needed here alone, and not pinned by what it pins.
PIP_COMPILE = $(PYTHON) -m piptools compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-emit-options --no-header --strip-extras --allow-unsafe

requirements:
	$(PIP_COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(PIP_COMPILE) --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml
	$(PIP_COMPILE) --output-file requirements/fuzz.txt requirements/fuzz.in

hooks:
	printf '#!/bin/sh\nexec make check\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
