# Every target works on a machine that has only make, python3 (3.11 or newer) and pip.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
REPORT ?= dgjax-report
RUN_PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint types layers docs format benchmark lines clean

help: ## this list
	@echo "dgjax: discriminative and generative models in pairs"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-compare ## compare every pair on handwritten digits and write a report
	@echo "==> Comparing generative and discriminative models on handwritten digits"
	@$(BIN)/dgjax compare --quick --out $(REPORT)

test: lint types layers ## all the fast checks: style, types, layers, tests
	@echo "==> Running the tests with $(WORKERS) workers, the slow ones left out (make test-all has them)"
	@$(RUN_PYTEST) -m "not slow"
	@$(MAKE) --no-print-directory lines

test-all: lint types layers ## the same with the slow tests
	@echo "==> Running all tests with $(WORKERS) workers, the slow ones too"
	@$(RUN_PYTEST)
	@$(MAKE) --no-print-directory lines

lint: $(VENV)/.ready-dev
	@echo "==> Checking style and format (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	@echo "==> Checking types (pyright)"
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

layers: $(VENV)/.ready-dev
	@echo "==> Checking that imports go down only (import-linter)"
	@$(BIN)/lint-imports --no-cache

docs: $(VENV)/.ready-docs ## build the documentation in docs/_build
	@echo "==> Building the documentation (Sphinx, warnings are errors)"
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo "The documentation is at docs/_build/index.html"

format: $(VENV)/.ready-dev ## format the code and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

benchmark: $(VENV)/.ready-dev ## time the kernels and the fits beside their peers
	@$(BIN)/python -m pytest benchmarks/bench_*.py -q --benchmark-only --benchmark-group-by=param:problem

lines: $(VENV)/.ready-dev
	@$(BIN)/python scripts/lines.py dgjax kernels/dgjax_kernels tests

clean: ## remove the environment, the built pages and the caches
	@rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(REPORT)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Clean."

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dgjax needs Python 3.11 or newer, and $(PYTHON) is older: try  make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "==> Making an environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# One stamp for each extra, older than pyproject.toml when the dependencies may have changed.
$(VENV)/.ready-%: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing dgjax[$*] and what it needs into $(VENV): a few minutes the first time"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@touch $@

.PRECIOUS: $(VENV)/.ready-%
