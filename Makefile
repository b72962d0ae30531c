# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked

.PHONY: demo test check docs bench claims lock clean

demo: $(STAMP) ## Audit handwritten digits in which one label in ten was flipped; ends with the path of the report
	$(BIN)/python -m assay.cli.demo demo

test: $(STAMP) ## All checks and tests
	$(MAKE) --no-print-directory check
	$(BIN)/pytest -n 2 --dist loadscope

check: $(STAMP) ## Linters, types, import contracts, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check

docs: $(STAMP) ## Generate PAPERS.md and the pages, build the site into site/
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## Time ours, the rival and the limit, at full scale (an hour; a quiet machine)
	for script in $$(ls bench/*/*.py | grep -v __init__); do \
	  module=$$(echo $${script%.py} | tr / .); \
	  if grep -q '"--scale"' $$script; then $(BIN)/python -m $$module --scale full || exit 1; fi; done

claims: $(STAMP) ## The papers' claims, over seeds, with intervals
	$(BIN)/pytest -m claim

lock: ## Resolve the versions anew and write requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager '.[dev]'
	$(BIN)/pip freeze --exclude assay > requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "assay needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "assay needs Python 3.11 or newer, $(PYTHON) is older; name one with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean: ## Remove everything that can be made again
	rm -rf $(VENV) site demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
