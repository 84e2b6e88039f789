# Everything runs in .venv, which `setup` makes from pinned versions (constraints.txt).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROJECTS := pyproject.toml plugins/storage_memory/pyproject.toml plugins/storage_sqlite/pyproject.toml packaging/kgw/pyproject.toml

.PHONY: setup dev test test-strange test-newest clients matrix lint fmt generate bench bench-short bench-full replay fuzz soak crash chaos help

help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## install the workspace into .venv

$(STAMP): constraints.txt requirements-dev.txt $(PROJECTS) hatch_build.py kgw_core/records/_walk.c kgw_core/records/_walk.h
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e . -e plugins/storage_memory -e plugins/storage_sqlite -e packaging/kgw
	touch $@

dev: $(STAMP) ## run the broker: memory storage, 127.0.0.1:9092
	$(BIN)/kgw dev

test: $(STAMP) ## the Python tests
	$(BIN)/python -m pytest -q -m "not clients" -n 2 --dist worksteal

test-strange: $(STAMP) ## the Python tests as on a machine unlike ours: other locale, umask, time zone, no HOME, no terminal
	tools/strange_machine.sh $(MAKE) test

clients: $(STAMP) ## programs in Go, Java and Node against a running gateway
	$(BIN)/python -m pytest -m "clients and not matrix" tests/clients

matrix: $(STAMP) ## the same with old and new versions of each client, and large groups; ONLY=test_groups for a part
	$(BIN)/python -m pytest -m clients tests/clients tests/integration $(if $(ONLY),-k $(ONLY))

test-newest: $(STAMP) ## unit and conformance tests on the newest Python here, if it is newer than .venv's
	@newest=$$(tools/newest_python.sh); \
	if [ "$$($$newest -c 'import sys; print(sys.version_info[:2])')" = "$$($(BIN)/python -c 'import sys; print(sys.version_info[:2])')" ]; then \
		echo "no newer Python here than .venv's: skipped"; \
	else \
		$(MAKE) STAMP=.venv-newest/.installed BIN=.venv-newest/bin PYTHON=$$newest VENV=.venv-newest setup && \
		.venv-newest/bin/python -m pytest -q -n 2 --dist worksteal tests/unit tests/conformance plugins; \
	fi

PURE := import sys, pytest; sys.modules["kgw_core.records._walk"] = None; sys.exit(pytest.main(sys.argv[1:]))

test-pure: $(STAMP) ## what looks at records, as it is where there is no C compiler
	$(BIN)/python -c '$(PURE)' -q tests/unit/records tests/unit/log tests/unit/api \
		--deselect tests/unit/records/test_walk.py::test_here_it_is_compiled

lint: $(STAMP) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(STAMP) ## the wire's messages and codecs, and the pages that are made from the code
	$(BIN)/python -m tools.generate_messages
	$(BIN)/python -m tools.api_versions_page

bench: $(STAMP) ## kgw beside kfake and Apache Kafka, short: about 5 minutes once they are built
	$(BIN)/python -m benchmarks --rounds 2

bench-short: $(STAMP) ## a few rows beside kfake, once: that the harness works, no figures; a minute
	$(BIN)/python -m benchmarks --peers kgw kfake --rounds 1 --patience 0 --out build/benchmarks/short \
		--only produce-1k-6p consume-1k-1p one-at-a-time groups start

bench-full: $(STAMP) ## the same with long loads, what a request costs, and a start
	$(BIN)/python -m benchmarks --full --rounds 3 --patience 10 --tries 3
	$(BIN)/python -m benchmarks.request_cost
	$(BIN)/python -m benchmarks.startup

replay: $(STAMP) ## odd but legal requests beside an Apache Kafka 4.4.0; KAFKA=host:port KGW=host:port, else both are started
	$(BIN)/python -m tools.replay $(if $(KAFKA),--kafka $(KAFKA)) $(if $(KGW),--kgw $(KGW))

fuzz: $(STAMP) ## bad input of every class beside a healthy pair of clients; MINUTES=1 SEED=1
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),1) --seed $(or $(SEED),1)

soak: $(STAMP) ## memory over time; MINUTES=60
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60)

chaos: $(STAMP) ## three gateways on one store, paused and restarted at random under clients; SECONDS=60 SEED=1
	$(BIN)/python tests/cluster/chaos.py --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

crash: $(STAMP) ## kill -9 at random moments, a storage that fails, and what was told is so; ROUNDS=20 FAULTS=0.02
	$(BIN)/python -m tests.crash --rounds $(or $(ROUNDS),20) --faults $(or $(FAULTS),0.02)
