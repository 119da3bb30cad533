# `make demo`, `make test` and `make check` set up everything they need in .venv the first time; later calls start at once.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Every process of the tests and the demo would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# Stamps: they appear only after a set-up that succeeded, so an interrupted one is done again.
INSTALLED     := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: help demo test test-slow lint check clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    train, evaluate and predict once, offline, on handwritten digits'
	@echo 'make test    run the tests, but the slow ones'
	@echo 'make test-slow  run those: whole commands, several processes, trainings'
	@echo 'make lint    formatting, lint and types'
	@echo 'make check   lint and test: what has to pass before a change goes in'
	@echo 'make clean   remove .venv and caches; runs/ and demo/ stay'

demo: $(INSTALLED)
	@$(BIN)/python -m resnetkit demo

test: $(INSTALLED_DEV)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(INSTALLED_DEV)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'slow and not gpu and not network'

lint: $(INSTALLED_DEV)
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m mypy

check: lint test

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache build src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'ResNetKit needs Python 3.11 or newer, and `$(PYTHON)` is not: name another, as in `make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12`'; \
	    exit 2; } >&2
	@rm -f $(INSTALLED) $(INSTALLED_DEV)
	@echo 'Setting up $(VENV); the first time this downloads PyTorch, which can take minutes ...'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo 'Adding the tools for tests to $(VENV) ...'
	@$(PIP) -e '.[dev]'
	@touch $@
