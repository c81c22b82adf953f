PYTHON ?= python3
PYTEST_FLAGS ?= -n auto --dist worksteal
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
LOCK := $(COMPILE) pyproject.toml --group build

.PHONY: run check test test-clients lint types bench bench-growth docs clean lock audit

run: .venv/.base
	$(BIN)/duely serve

check: lint types
	DUELY_TEST_DATABASE=sqlite $(BIN)/pytest $(PYTEST_FLAGS) -m "not slow and not process"

test: .venv/.dev
	DUELY_TEST_DATABASE=sqlite $(BIN)/pytest $(PYTEST_FLAGS)
	DUELY_TEST_DATABASE=postgres $(BIN)/pytest $(PYTEST_FLAGS)

test-clients: .venv/.base
	$(BIN)/python tests/clients/run.py

lint: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: .venv/.dev
	SECRET_KEY=only-the-type-checker-reads-this-and-nothing-is-signed $(BIN)/mypy

audit: .venv/.dev
	$(BIN)/pip-audit --strict --requirement requirements/base.txt --require-hashes --disable-pip

bench: .venv/.bench
	$(BIN)/python bench/compare.py $(BENCH_FLAGS)

bench-growth: .venv/.bench
	$(BIN)/python bench/growth.py $(BENCH_FLAGS)

docs: .venv/.base
	$(BIN)/python -m duely.cli.reference

clean:
	rm -rf .venv build dist tests/clients/node_modules tests/clients/out tests/clients/venv .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

lock: .venv/.dev
	$(LOCK) --output-file requirements/base.txt && $(LOCK) --group dev --extra celery --constraint requirements/base.txt --output-file requirements/dev.txt && $(LOCK) --group bench --constraint requirements/dev.txt --output-file requirements/bench.txt
	$(COMPILE) tests/clients/requirements.in --output-file tests/clients/requirements.txt
	cd tests/clients && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Duely needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is incomplete here; install it with: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.base: requirements/base.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes --requirement requirements/base.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.base

.venv/.bench: requirements/bench.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes --requirement requirements/bench.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.base
