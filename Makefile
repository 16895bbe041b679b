# Everything a person or CI does with this repository. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The lock is whole, so nothing is resolved: pip before 23.3 looks for a newer `name[extra]` than the pinned `name`.
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps
T      ?= tests
JOBS   ?= 2
ENGINE  = e=$$(scripts/engine start); eval "$$e"

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.base ## Virtual environment with the pinned dependencies of the product
$(VENV)/.base: requirements/base.txt requirements/build.txt pyproject.toml
	@scripts/venv "$(PYTHON)" "$(VENV)"
	@echo "Installing the pinned dependencies into $(VENV) (about a minute the first time)"
	@$(PIP) -r requirements/build.txt -r requirements/base.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	@$(PIP) -r requirements/dev.txt
	@touch $@

.PHONY: engine
engine: $(VENV)/.base ## Container engine and sandbox image, found or made
	@$(ENGINE); $(BIN)/shopfloor image build

.PHONY: web
web: $(VENV)/.base ## Build the web app, if its sources are newer than what was built; needs only Python
	@scripts/web --if-needed

.PHONY: web-gates
web-gates: web ## What a browser loads of the web app, beside its budget
	@$(BIN)/python scripts/web_gates.py --all

.PHONY: web-if-possible
web-if-possible: $(VENV)/.base
	@scripts/web --if-needed || echo "The web app could not be built; API and command line work without it. Try: make web" >&2

.PHONY: web-dev
web-dev: $(VENV)/.base ## The web app with hot reload, against the API at SHOPFLOOR_URL
	@scripts/web dev

.PHONY: demo
demo: engine web-if-possible ## From nothing to a checked diff: the sample repository, the mock model, a real sandbox
	@$(ENGINE); $(BIN)/shopfloor demo

.PHONY: run
run: engine web-if-possible ## API, worker and embedded database on this machine
	@$(ENGINE); exec $(BIN)/shopfloor up

.PHONY: test
test: $(VENV)/.dev ## All tests, Docker ones included; T=path for some of them
	@if [ "$(T)" = tests ]; then $(MAKE) test-all; else e=$$(scripts/engine start || true); eval "$$e"; $(BIN)/python -m pytest -q $(T); fi

.PHONY: test-all
test-all: $(VENV)/.dev engine
	@scripts/services
	@$(ENGINE); NEED_DOCKER=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup -m "not chaos and not browser" tests

.PHONY: test-web
test-web: $(VENV)/.dev engine web ## The web app in a real browser: Chromium and Playwright are installed for it
	@$(PIP) -r requirements/browser.txt
	@scripts/services chromium
	@$(ENGINE); NEED_DOCKER=1 $(BIN)/python -m pytest -q tests/web

.PHONY: coverage
coverage: $(VENV)/.dev engine ## The same with branch coverage, which has to stay at 90 % or more
	@scripts/services
	@$(ENGINE); NEED_DOCKER=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup -m "not chaos and not browser" \
	  --cov --cov-report=term:skip-covered --cov-fail-under=90 tests

.PHONY: test-security
test-security: $(VENV)/.dev engine ## The attacks alone, with minutes of fuzzing instead of seconds
	@scripts/services
	@$(ENGINE); NEED_DOCKER=1 FUZZ_S=75 $(BIN)/python -m pytest -q tests/security

.PHONY: test-chaos
test-chaos: $(VENV)/.dev engine ## Everything broken at random for MINUTES (5), then judged: nothing lost, twice, or left
	@scripts/services
	@$(ENGINE); PYTHONPATH=src:tests:benchmarks $(BIN)/python -m chaos.run --minutes $${MINUTES:-5} $(CHAOS)

.PHONY: test-kills
test-kills: $(VENV)/.dev engine ## Workers killed KILLS (200) times, half right after a journal write
	@$(ENGINE); $(BIN)/python benchmarks/kills.py --kills $${KILLS:-200}

.PHONY: check
check: $(VENV)/.dev ## Lint, types, floors, texts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/house.py
	@$(BIN)/python scripts/scan_secrets.py

.PHONY: fix
fix: $(VENV)/.dev ## Format, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: ## Compile requirements/*.txt from pyproject.toml (needs uv)
	@scripts/lock

.PHONY: bench
bench: $(VENV)/.dev engine ## Every benchmark; figures go to benchmarks/results/
	@$(ENGINE); for script in benchmarks/[a-z]*.py; do \
	  case $$script in benchmarks/machine.py|benchmarks/installation.py|benchmarks/jobs_database.py|benchmarks/kills.py) continue;; esac; \
	  echo "== $$script"; $(BIN)/python $$script; done

.PHONY: docs
docs: $(VENV)/.dev ## Write the reference pages that are made, not written: OpenAPI, errors, figures
	@$(BIN)/python scripts/docs.py

.PHONY: clean
clean: ## Remove what make made here; data folders and the engine stay
	@rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
