.PHONY: setup demo test test-slow lint bench clean

# The first that is there, can make a venv and is of a version that is tested. A name alone proves nothing: a version
# manager leaves names behind that do not run.
USABLE := import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(USABLE)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

setup: .venv/.ready

# The stamp is newer than what it was made from, so a second `make` does nothing.
.venv/.ready: pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(USABLE)' 2>/dev/null || { echo "error: python: expected Python 3.11, 3.12 or 3.13 with venv, got \
	$(or $(PYTHON),none); install one (Debian: apt-get install python3 python3-venv) or name it: make setup \
	PYTHON=/path/to/python" >&2; exit 2; }
	'$(PYTHON)' -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/fuseline run conf/demo.yaml

test: setup
	$(BIN)/python -m pytest

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The peer of the training benchmark is compiled on this machine.
bench: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for script in bench/*_speed.py bench/startup.py; do echo $$script; $(BIN)/python -m bench.$$(basename $$script .py) || exit 1; done

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
