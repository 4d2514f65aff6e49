# `make demo` and `make test` set everything up by themselves, in .venv; the second call sets up nothing again.
.DEFAULT_GOAL := help
.PHONY: help demo test checks test-slow test-page test-faults test-peers lint types unit docs benchmarks setup lock clean
# hundreds of processes are started here: each would compile Python's sources anew where the user keeps it from writing what it compiled
export PYTHONDONTWRITEBYTECODE =

help:           ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

demo:           ## a real small study, end to end, into ./demo
	@requirements/setup.sh train
	@.venv/bin/tdscale demo --dir demo

test: setup     ## lint, types, tests, docs; the checks beside the tests
	@$(MAKE) --no-print-directory -j 2 checks unit

checks: lint types docs

setup:          ## .venv with everything for development
	@requirements/setup.sh dev

lint: setup     ## ruff; import-linter, for what a room may import
	.venv/bin/ruff check --no-cache .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache

types: setup    ## mypy
	.venv/bin/mypy

unit: setup     ## pytest; three processes on two cores, for many a test waits for processes of its own
	.venv/bin/pytest -n 3 --dist worksteal

test-slow: setup  ## what takes long and guards rarely: killed studies, Ray, the wheel, smoke runs of the examples
	.venv/bin/pytest -n 2 --dist worksteal -m slow

test-page: setup  ## the report in headless Chromium, light, dark, on a phone, in print; skipped where there is none
	.venv/bin/pytest -m page

test-faults: setup  ## Ray nodes and drivers that are killed; some minutes
	.venv/bin/pytest -m faults

test-peers: .venv-peers/.installed  ## with Stable-Baselines3 (brings torch): its logs, and its SAC as a trainer
	.venv-peers/bin/pytest -m peers tests/peers

.venv-peers/.installed: requirements/light.txt requirements/peers.txt pyproject.toml
	@echo "setting up .venv-peers with torch and Stable-Baselines3; once, some minutes …"
	@test -x .venv-peers/bin/pip || python3 -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/light.txt
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check -r requirements/peers.txt
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

docs: setup     ## the docs site, into docs/_build; warnings are errors
	.venv/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

benchmarks: setup  ## speed, prediction and calibration tables of the analysis; half an hour, needs the published files
	@test -x .venv-analysis/bin/python || python3 -m venv .venv-analysis
	@.venv-analysis/bin/pip install -q -r benchmarks/requirements-analysis.txt
	.venv/bin/python benchmarks/analysis.py --peers .venv-analysis/bin/python
	.venv/bin/python benchmarks/prediction.py
	.venv/bin/python benchmarks/sizes.py
	.venv/bin/python benchmarks/hyperparameters.py
	.venv/bin/python benchmarks/calibration.py
	.venv/bin/python benchmarks/new_task.py
	.venv/bin/python benchmarks/first_settings.py
	.venv/bin/python benchmarks/adaptive.py --peers .venv-analysis/bin/python
	.venv/bin/python benchmarks/adaptive_simulated.py

lock:           ## refresh the pinned versions (needs uv)
	requirements/compile.sh --upgrade

clean:          ## what tests and builds leave
	rm -rf docs/_build docs/_extra docs/notebooks_built docs/sg_execution_times.rst dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
