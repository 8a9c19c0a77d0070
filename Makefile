# Every target builds what it needs from `python3 -m venv` and is quick when nothing has changed.
PYTHON ?= python3
BIN := .venv/bin
UV := .make/uv/bin/uv
# Certificates of the machine, not uv's own: companies and CI put theirs there.
export UV_SYSTEM_CERTS := 1
# The environment uv works on, whatever is active in the shell.
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: help demo test check format docs lock bench bench-ingest bench-curate up down clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: .make/installed ## the whole job on painted photos: servers, workers, scraping, tuning, registry (no internet)
	@$(BIN)/harvestman demo $(ARGS)

test: .make/installed ## the tests, with coverage
	@$(BIN)/python -m pytest -n 3 --dist loadgroup --cov --cov-report=term $(ARGS)

check: .make/installed ## formatter, linter, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .make/installed ## formats the code and mends what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .make/installed ## the reference of recipes and settings, from the code
	@$(BIN)/python -m flows.reference

bench: .make/installed ## the benchmarks; results go into benchmarks/LOG.md by hand, with their machine
	@for name in curate.search discover.export discover.open_data rehearsals.real_photos \
			ingest.inspector ingest.memory ingest.slow_host; do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-ingest: .make/installed .make/peers/installed ## the door beside img2dataset, icrawler and plain httpx (needs nginx; 20 minutes)
	@for name in throughput memory slow_host; do \
		echo "== ingest.$$name"; $(BIN)/python -m benchmarks.ingest.$$name || exit 1; done

bench-curate: .make/installed .make/peers-curate/installed ## the audit beside czkawka, imagededup and cleanvision (15 minutes)
	@$(BIN)/python -m benchmarks.curate.compare

up: .make/installed ## Prefect server, MLflow server and two workers of ./workspace
	@$(BIN)/harvestman up

down: .make/installed ## stops them
	@$(BIN)/harvestman down

lock: $(UV) ## pins the dependencies anew, with hashes and without addresses
	@$(LOCK) --extra cpu --upgrade -o requirements.lock
	@$(LOCK) --extra cpu --extra dask --extra ray --group dev -c requirements.lock -o requirements-dev.lock
	@$(LOCK) --extra gpu -c requirements.lock -o requirements-gpu.lock
LOCK = $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

clean: ## removes the environment (never ./workspace)
	@rm -rf .venv .make build *.egg-info

.make/installed: requirements-dev.lock pyproject.toml $(UV)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the environment (once; a minute or two)"
	@$(UV) pip sync --quiet --require-hashes requirements-dev.lock
	@$(UV) pip install --quiet --no-deps --editable .
	@touch $@

.make/peers/installed: benchmarks/ingest/peers/requirements.txt $(UV)
	@test -x .make/peers/bin/python || $(PYTHON) -m venv .make/peers
	@echo "installing what the door is compared with (once; a minute)"
	@$(UV) pip install --quiet --python .make/peers/bin/python -r $<
	@touch $@

.make/peers-curate/installed: benchmarks/curate/peers/requirements.txt $(UV)
	@test -x .make/peers-curate/bin/python || $(PYTHON) -m venv .make/peers-curate
	@echo "installing what the audit is compared with (once; 6 GB, some minutes)"
	@$(UV) pip install --quiet --python .make/peers-curate/bin/python -r $<
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Harvestman needs Python 3.11 or newer; set PYTHON=")'
	@mkdir -p .make
	@$(PYTHON) -m venv .make/uv
	@.make/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
