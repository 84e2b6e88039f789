# Everything runs in .venv, which `setup` makes from pinned versions (constraints.txt).
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PROJECTS := pyproject.toml plugins/storage_memory/pyproject.toml packaging/kgw/pyproject.toml

.PHONY: setup dev test lint fmt help

help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## install the workspace into .venv

$(STAMP): constraints.txt requirements-dev.txt $(PROJECTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e . -e plugins/storage_memory -e packaging/kgw
	touch $@

dev: $(STAMP) ## run the broker: memory storage, 127.0.0.1:9092
	$(BIN)/kgw dev

test: $(STAMP) ## the Python tests
	$(BIN)/python -m pytest -m "not clients"

lint: $(STAMP) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
