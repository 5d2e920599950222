# `make` alone lists the targets.

PYTHON ?= python3
PORT ?= 8008
DATA ?= data
PYTEST ?= -n auto --maxprocesses 4 --dist loadfile
BENCH ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test check soak bench schema docs locks clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.product ## serve the three-region demo on http://localhost:8008 (PORT=, DATA=)
	@exec $(BIN)/hutong serve --data "$(DATA)" --port "$(PORT)"

test: .venv/.dev ## run every test (PYTEST= arguments for pytest)
	@$(BIN)/pytest $(PYTEST)

check: .venv/.dev ## formatter, linter, types, imports
	@scripts/check

soak: .venv/.dev ## the long counts: hundreds of kills, long snapshots, big fuzz runs
	@$(BIN)/pytest -m soak

bench: .venv/.dev ## measure beside Synapse; writes bench/RESULTS.md (BENCH=--quick)
	@$(BIN)/python -m bench $(BENCH)

schema: .venv/.dev ## write the first migration anew, from the tables that are declared
	@$(BIN)/python -m hutong.schema

docs: .venv/.dev ## write the pages anew that are made from the code
	@$(BIN)/python -m hutong.residency.placements
	@$(BIN)/python -m tests.support.matrix

locks: .venv/.dev ## choose versions anew and lock them with their hashes
	@scripts/locks

clean: ## remove what was installed and cached; the data stays
	@rm -rf .venv tests/clients/js/node_modules tests/browser/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.product: requirements.txt pyproject.toml
	@PYTHON=$(PYTHON) scripts/setup product

.venv/.dev: requirements.txt requirements-dev.txt pyproject.toml
	@PYTHON=$(PYTHON) scripts/setup dev
