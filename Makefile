# Every target builds what it needs: a virtual environment in .venv, and for the tests Debian packages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OBJECTS := src/inet_lookup/dispatch/dispatcher.bpf.o
DIALECT := $(wildcard src/inet_lookup/dispatch/dispatcher.py src/inet_lookup/dispatch/layout.py \
  src/inet_lookup/programs/*.py src/inet_lookup/programs/*/*.py)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench soak clean

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than Python 3.11" >&2; \
	  echo "hint: name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compiler]' --group dev
	@touch $@

$(OBJECTS): $(STAMP) $(DIALECT)
	@$(BIN)/python -m inet_lookup.dispatch.compile >/dev/null

demo: $(OBJECTS) ## Two web servers share a port, steered by a program written in Python.
	@$(BIN)/inet-lookup demo

test: $(OBJECTS) ## Install what the tests need (Debian packages included) and run them all.
	@tests/install-packages
	$(BIN)/python -m pytest

lint: $(STAMP) ## Check format, style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## Format the source.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(OBJECTS) ## Measure what docs/performance.md states.
	@tests/install-packages
	$(BIN)/python benchmarks/compiled_program.py

soak: $(OBJECTS) ## Run the random tests for about an hour.
	@tests/install-packages
	INET_LOOKUP_CONTEXTS=100000 $(BIN)/python -m pytest tests/programs/test_kernel_agrees_with_python.py
	INET_LOOKUP_PAIRS=5000000 $(BIN)/python -m pytest tests/dispatch/test_kernel_agrees_with_reference.py
	$(BIN)/python tests/support/object_mutation.py --count 1000000 src/inet_lookup/dispatch/*.bpf.o

clean: ## Remove what the other targets made.
	rm -rf src/inet_lookup/dispatch/*.bpf.o $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
