# Everything a fresh clone needs: `make demo`, `make test`, `make check`.
# Needs Python 3.11 or newer, git and make; everything else is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# Markers say what a test needs (pyproject.toml describes them). Where many tests wait for timers, 4 processes serve 2 cores.
HEAVY := server or github or crash or power or browser or install
APART := image or soak
PYTEST := $(BIN)/pytest --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo unit test test-rest test-soak test-image test-all check lint types imports format lock screenshots clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Virtual environment and packages in .venv

$(STAMP): pyproject.toml requirements.lock scripts/setup.sh
	@sh scripts/setup.sh $(VENV)
	@touch $@

demo: setup ## The real pipeline on a sample repository, with a scripted model: no key
	@$(BIN)/baton demo

unit: setup ## The tests without a server, the sandbox and processes of baton: about a minute
	$(PYTEST) -n 2 -m "not ($(HEAVY) or $(APART) or sandbox or command)"

test: check ## Lint, types, import rules, all tests without a server, and samples with one
	$(PYTEST) -n 3 -m "sample or not ($(HEAVY) or $(APART))"

test-rest: setup ## The tests that make test leaves out: servers, GitHub, crashes, power cuts, the browser
	$(PYTEST) -n 4 -m "($(HEAVY)) and not (sample or $(APART))"

test-soak: setup ## Longer runs with random faults
	$(PYTEST) -n 4 -m "soak" --soak-runs 10

# Skipped with the reason where the image cannot be made: that needs root and packages of Debian, which it installs.
test-image: setup ## The container image, built and run by podman
	timeout --foreground --kill-after=60 600 $(BIN)/pytest -n 0 -m image tests/image

test-all: test test-rest test-image ## Everything but test-soak, as CI runs it

check: lint types imports ## ruff, mypy --strict, import-linter

lint: setup ## Rules of ruff, and the style figures of scripts/style_check.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/style_check.py

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Resolve the newest versions into requirements.lock
	$(BIN)/uv pip compile --universal --no-header --no-emit-index-url --upgrade --group dev pyproject.toml -o requirements.lock

screenshots: setup ## The pictures of docs/monitoring.md, from the real Web UI
	@sh scripts/chromium.sh
	@$(BIN)/python -m tests.ui.screenshots

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
