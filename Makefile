.PHONY: setup demo test test-slow lint bench clean

PYTHON ?= python3.11
BIN := .venv/bin

setup: .venv/.ready

# The stamp is newer than what it was made from, so a second `make` does nothing.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
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
	for script in bench/*_speed.py; do echo $$script; $(BIN)/python -m bench.$$(basename $$script .py) || exit 1; done

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
