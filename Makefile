# Everything runs from here, with Python 3.11 or newer and nothing else installed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
JOBS ?= 2

# Python to build the environment with: PYTHON where given, else the fastest of those that fit, since one machine may
# have builds of which one runs a third faster than another. 3.11 and 3.12 come first because for them every package
# is a ready wheel; for newer ones the bundled Redis is compiled.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.11 python3.13 python3.14 /usr/bin/python3)
SPEED := import timeit; print(int(min(timeit.repeat("[str(i) for i in range(999)]", number=20, repeat=9)) * 1e7))

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

# --- what it is for --------------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/run.stamp ## Start Farthing and its demo on PORT (8000); Ctrl-C stops it, the data stays
	@exec $(BIN)/python -m config.runner $(if $(VERBOSE),--verbose)

.PHONY: demo
demo: $(VENV)/run.stamp ## Sell a few hundred real code runs on a fresh Farthing, then verify every cent
	@exec $(BIN)/python -m examples.code_runner.demo

.PHONY: test
test: $(VENV)/dev.stamp chromium ## Run all tests; ARGS are passed to pytest
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

.PHONY: check
check: $(VENV)/dev.stamp chromium ## Check format, lint, types, imports and migrations, then run all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W ignore manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

.PHONY: benchtest
benchtest: $(VENV)/dev.stamp ## Run the whole benchmark as a test, for a second per figure
	$(BIN)/python -m pytest tests/benchmarks/whole.py $(ARGS)

.PHONY: bench
bench: $(VENV)/dev.stamp ## Measure the engine against bare PostgreSQL, on this machine
	@exec $(BIN)/python -m benchmarks $(ARGS)

.PHONY: faults
faults: $(VENV)/dev.stamp ## Kill, hang, starve and flood a running Farthing, for ten minutes
	$(BIN)/python -m pytest tests/faults tests/faults/matrix.py $(ARGS)

.PHONY: payfaults
payfaults: $(VENV)/dev.stamp ## Drop, double, shuffle and delay what payment providers say, for some minutes
	FARTHING_PAYMENT_FAULTS=300 $(BIN)/python -m pytest tests/billing/payments/test_faults.py $(ARGS)

.PHONY: clean
clean: ## Remove what was built and cached; the data in .farthing stays
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- for those who change it -----------------------------------------------------------------------------

.PHONY: fmt
fmt: $(VENV)/dev.stamp ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: migrate
migrate: $(VENV)/run.stamp ## Apply migrations, as the owner, to the database that DATABASE_OWNER_URL names
	$(BIN)/python manage.py migrate

LOCK := pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11

.PHONY: lock
lock: $(VENV)/uv.stamp ## Pin all dependencies again, with hashes, from pyproject.toml
	$(UV) $(LOCK) pyproject.toml --output-file requirements/run.txt $(ARGS)
	$(UV) $(LOCK) pyproject.toml --group dev --output-file requirements/dev.txt $(ARGS)

# --- the environment, made again only when a lock file changes -------------------------------------------

$(BIN)/python:
	@fits() { "$$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < $$2)" 2>/dev/null; }; \
	whole() { "$$1" -c "import ensurepip, venv" 2>/dev/null; }; \
	for limit in "(3, 13)" "(4, 0)"; do \
	    for candidate in $(PYTHONS); do \
	        if fits "$$candidate" "$$limit" && { [ -z "$$python" ] || whole "$$candidate"; }; then \
	            time=$$("$$candidate" -c '$(SPEED)'); \
	            if [ -z "$$python" ] || [ $$((time * 10)) -lt $$((least * 9)) ]; then \
	                python="$$candidate"; least=$$time; \
	            fi; \
	        fi; \
	    done; \
	    [ -z "$$python" ] || break; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Farthing needs Python 3.11 or newer; found: $$($(firstword $(PYTHONS)) --version 2>/dev/null || echo none)." \
	        "If it is installed elsewhere: make PYTHON=/path/to/python3.11 run" >&2; exit 1; \
	fi; \
	if ! whole "$$python"; then \
	    echo "$$python cannot make a virtual environment: it comes without ensurepip." \
	        "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version) ..."; \
	"$$python" -m venv --clear $(VENV)

$(VENV)/uv.stamp: requirements/uv.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/run.stamp $(VENV)/dev.stamp: $(VENV)/%.stamp: requirements/%.txt $(VENV)/uv.stamp
	@echo "Installing $< ..."
	@# With the certificates of the machine, which may have its own; where it has none, with those of uv.
	@install="pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r $<"; \
	$(UV) --system-certs $$install || $(UV) $$install || { \
	    echo "The packages could not be installed. On Python 3.13 and newer the bundled Redis is compiled, which" \
	        "needs a C compiler and make; with Python 3.11 or 3.12 nothing is: make clean, then" \
	        "make PYTHON=python3.12 run" >&2; exit 1; }
	@touch $@

# The browser tests drive a real Chromium. Where it is missing and may be installed, it is; elsewhere those tests
# are skipped and say so.
.PHONY: chromium
chromium:
	@for name in "$$CHROME_PATH" chromium chromium-browser google-chrome google-chrome-stable; do \
	    if [ -n "$$name" ] && command -v "$$name" >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Chromium for the browser tests ..."; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	        || echo "Chromium could not be installed: the browser tests will be skipped." >&2; \
	else \
	    echo "No Chromium, and no right to install it: the browser tests will be skipped (set CHROME_PATH)." >&2; \
	fi
