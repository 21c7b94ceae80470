# Everything a person or CI runs. Needs Python 3.11 or newer and make; installs the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check unit format bench lock clean

demo: $(STAMP) ## Three agents hand a conversation to each other on a local Ray; no key, no network
	@$(BIN)/rojak demo

test: $(STAMP) ## The whole suite
	$(BIN)/python -m pytest

unit: $(STAMP) ## The tests that need no Ray, in seconds
	$(BIN)/python -m pytest tests/unit tests/contract

check: $(STAMP) ## Format, lint, types, the dependency rule, the size budget
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tests/size_budget.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure turns against the vendor's own client in the same run, and schedules
	$(BIN)/python -m benchmarks.turn
	$(BIN)/python -m benchmarks.schedules

lock: ## Pin what a fresh install takes; run it when pyproject.toml changes
	$(PYTHON) -m venv .lock && .lock/bin/pip install -q --group dev -e '.[all]' && \
	.lock/bin/pip freeze --exclude-editable > constraints.txt && rm -rf .lock

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rojak-ray needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --group dev -e '.[all]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .lock
