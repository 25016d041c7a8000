# Every target works on a machine that has only make, python3 (3.11 or newer) and pip.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
REPORT ?= dgjax-report
SECONDS ?= 600
RUN_PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q --durations=20 --durations-min=5
RUN_BENCH = mkdir -p .benchmarks && $(BIN)/python -m pytest -q -W default -o addopts= --import-mode=importlib \
  --benchmark-only --benchmark-disable-gc --benchmark-columns=median
PUBLIC_CALLS := $(patsubst %,benchmarks/bench_%,calls.py sequence_calls.py small_first_calls.py first_calls.py::test_import)

# As installed packages have it: else each process of tests and benchmarks compiles 135 modules, which takes 0.3 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test quick test-all fuzz lint types layers docs docs-versions release format bench bench-calls \
  bench-quick bench-installed bench-accelerator lines clean

help: ## this list
	@echo "dgjax: discriminative and generative models in pairs"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-compare ## compare every pair on handwritten digits and write a report
	@echo "==> Comparing generative and discriminative models on handwritten digits: 2 to 5 minutes on 2 cores the first time, most of it compiling"
	@$(BIN)/dgjax compare --quick --out $(REPORT)

test: lint ## all the fast checks: style, types, layers, tests
	@$(MAKE) --no-print-directory -j3 types layers quick
	@$(MAKE) --no-print-directory lines

quick: $(VENV)/.ready-dev
	@echo "==> Running the tests with $(WORKERS) workers beside these checks, the slow ones left out (make test-all has them)"
	@$(RUN_PYTEST) -m "not slow"

test-all: lint layers types ## the same with the slow tests
	@echo "==> Running all tests with $(WORKERS) workers, the slow ones too"
	@$(RUN_PYTEST)
	@$(MAKE) --no-print-directory lines

fuzz: $(VENV)/.ready-dev ## random cases beside formulas in float64; SECONDS=600 SEED= CASE=
	@PYTHONPATH=tests $(BIN)/python -m fuzz --workers $(WORKERS) --seconds $(SECONDS) \
	  $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

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
	@$(BIN)/python scripts/links.py docs/_build
	@echo "The documentation is at docs/_build/index.html"

docs-versions: $(VENV)/.ready-docs ## build the documentation of every tag, side by side, in docs/_versions
	@echo "==> Building the documentation of every version (Sphinx): a minute or two for each"
	@$(BIN)/python scripts/versions.py

release: $(VENV)/.ready-release ## build and check a release, try it on every Python here, and say how to publish it
	@echo "==> Building, and installing the wheel in an empty environment for each Python from 3.11 to 3.14: minutes"
	@$(BIN)/python scripts/release.py

format: $(VENV)/.ready-dev ## format the code and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.ready-bench ## time everything beside its peers, and write the results and their page
	@echo "==> Benchmarks: every case beside its peers, by turns; about half an hour"
	@$(RUN_BENCH) benchmarks/bench_*.py --benchmark-json=.benchmarks/raw.json
	@$(BIN)/python benchmarks/report.py .benchmarks/raw.json

bench-calls: $(VENV)/.ready-bench ## public calls alone, beside their peers and what is aimed at; kept nowhere
	@echo "==> Benchmarks of public calls: about ten minutes"
	@$(RUN_BENCH) $(PUBLIC_CALLS) --benchmark-json=.benchmarks/calls.json
	@$(BIN)/python benchmarks/report.py .benchmarks/calls.json --calls

bench-quick: $(VENV)/.ready-bench ## one small case of each kind, once, in under three minutes, kept nowhere
	@echo "==> Benchmarks: a small case of each kind, once"
	@$(RUN_BENCH) benchmarks/bench_*.py --quick --benchmark-json=.benchmarks/quick.json
	@$(BIN)/python benchmarks/report.py .benchmarks/quick.json --quick

bench-installed: $(VENV)/.ready-bench ## first calls of 200 rows after `pip install` in an empty environment; kept nowhere
	@echo "==> Installing dgjax into an empty environment, then every first call in a process of its own: three minutes"
	@$(BIN)/python benchmarks/installed.py

bench-accelerator: ## check and time every kernel and fit on a GPU or TPU, in 8 minutes, with the JAX of PYTHON=
	@echo "==> Benchmarks on an accelerator: every kernel and fit beside the CPU's values, then timed; 8 minutes at most"
	@PYTHONPATH=.:kernels $(PYTHON) benchmarks/accelerator.py

lines: $(VENV)/.ready-dev
	@$(BIN)/python scripts/lines.py dgjax kernels/dgjax_kernels tests

clean: ## remove the environment, the built pages and the caches
	@rm -rf $(VENV) docs/_build docs/_versions dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(REPORT)
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
