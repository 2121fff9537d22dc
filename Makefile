# Everything starts from here: python3.11 and make are all a machine needs.
#
#   make demo                 run it (SPEED=60 makes an hour a minute, PORT=8080, KEEP=1; TARGET=tryton: with a real ERP)
#   make test                 lint and all tests (ARGS="--only sqlite", see python -m tools.test -h)
#   make story                the acceptance story, on real processes (STORY=all, or one of them by name; TARGET=tryton)
#   make lint, make check     lint alone; lint and the quick tests
#   make crash-sweep          kill the worker at every point of two actions, forward and back (TARGET=tryton, ARGS="--only payment")
#   make fault-sweep          have every call to a real ERP fail in every way (TARGET=demo, ARGS="--budget 300")
#   make two-of-everything    two webs, clocks and workers under load, one of each killed every 20 s (SECONDS=300)
#   make soak                 everything that can happen, in every order, for an hour (MINUTES=5)
#   make bench                measure, and print JSON (BENCH_SCALE=0.1, ARGS="submit inbox")
#   make lock                 compile requirements/*.txt from pyproject.toml and requirements/*.in
#   make vendor               copy front-end files into static/vendor
#   make clean                remove the environment and caches; var/ holds data and stays

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint check story crash-sweep fault-sweep two-of-everything soak bench lock vendor clean

PYTHON := .venv/bin/python
RUNTIME := .venv/requirements-runtime
DEVELOPMENT := .venv/requirements-dev
MITMPROXY := .mitmproxy/requirements
INSTALL := $(PYTHON) -m pip install --quiet --no-input --disable-pip-version-check --require-hashes
UV_VERSION := 0.13.9

help:
	@sed -n 's/^#   //p' Makefile

# `exec` leaves no shell between make and the program: each sees when the other ends.
demo: $(RUNTIME)
	@exec $(PYTHON) -m tools.demo $(ARGS)

test: $(DEVELOPMENT)
	@exec $(PYTHON) -m tools.test $(ARGS)

lint: $(DEVELOPMENT)
	@exec $(PYTHON) -m tools.lint

check: $(DEVELOPMENT)
	@exec $(PYTHON) -m tools.test --fast --only sqlite $(ARGS)

story: $(RUNTIME)
	@exec $(PYTHON) -m tools.story $(ARGS)

crash-sweep: $(RUNTIME)
	@exec $(PYTHON) -m tools.trials crash --target $${TARGET:-demo} $(ARGS)

fault-sweep: $(RUNTIME) $(MITMPROXY)
	@exec $(PYTHON) -m tools.trials faults --target $${TARGET:-tryton} $(ARGS)

two-of-everything: $(RUNTIME)
	@exec $(PYTHON) tools/postgres.py run -- $(PYTHON) -m tools.trials two --seconds $${SECONDS:-300} $(ARGS)

soak: $(DEVELOPMENT)
	@SOAK_MINUTES=$${MINUTES:-60} exec $(PYTHON) -m pytest -q -s -n 0 -m soak tests/machine

bench: $(RUNTIME)
	@exec $(PYTHON) -m bench $(ARGS)

vendor:
	@exec bash tools/vendor.sh

# The environment. A changed requirements file is newer than its stamp and is installed again.
$(PYTHON):
	@set -eu; \
	for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making .venv with $$($$python --version)."; \
	    exec $$python -m venv --clear .venv; \
	  fi; \
	done; \
	echo "Recourse needs Python 3.11 or newer with venv, and found none on PATH." >&2; \
	echo "On Debian and Ubuntu: apt-get install python3.11 python3.11-venv" >&2; \
	exit 1

$(RUNTIME): requirements/runtime.txt | $(PYTHON)
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip >/dev/null
	@echo "Installing $<."
	@$(INSTALL) -r $<
	@touch $@

$(DEVELOPMENT): requirements/dev.txt $(RUNTIME)
	@echo "Installing $<."
	@$(INSTALL) -r $<
	@touch $@

# mitmproxy pins what it needs, so it lives in an environment of its own.
$(MITMPROXY): requirements/mitmproxy.txt | $(PYTHON)
	@test -x .mitmproxy/bin/python || $(PYTHON) -m venv .mitmproxy
	@echo "Installing $<."
	@.mitmproxy/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes -r $<
	@touch $@

# uv resolves for all platforms at once; it lives beside the environment, not in it.
lock: | $(PYTHON)
	@set -eu; \
	test -x .venv/lock/bin/python || $(PYTHON) -m venv .venv/lock; \
	.venv/lock/bin/python -m pip install --quiet --no-input --disable-pip-version-check "uv==$(UV_VERSION)"; \
	compile=".venv/lock/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header"; \
	$$compile pyproject.toml --output-file requirements/runtime.txt; \
	$$compile --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt; \
	for list in requirements/*.in; do $$compile $$list --output-file $${list%.in}.txt; done; \
	echo "Compiled requirements/*.txt. Review the difference."

clean:
	rm -rf .venv .tryton .mitmproxy staticfiles .demo.json .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
