# UICI's commands for a checkout. Everything is installed into .venv; only `make engines` touches the machine.
# `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
ENV ?= supervisor
# What `make test` hands to pytest: `make test TESTS="tests/catalog -k duplicate"`.
TESTS ?=
# Workers. Tests that share an engine stay together, so that each engine starts as seldom as possible.
WORKERS ?= 2
TEST_PACKAGES := docker.io prometheus prometheus-alertmanager busybox-static debootstrap iptables iproute2 \
  containerd runc containernetworking-plugins conntrack openssl

.PHONY: help setup demo test lint unit format engines engine-packages engine-builds bench reference constraints build clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | while IFS=$$'\t' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

setup: $(STAMP)  ## virtual environment in .venv with the pinned packages (Python 3.11 or later)

# A shim that exists may still start nothing (pyenv), and Debian's Python comes without venv: so each is tried.
$(STAMP): constraints.txt pyproject.toml
	@python=; for one in "$${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3 /usr/local/bin/python3 "$${HOME:-/root}"/.pyenv/versions/3.1[1-4]*/bin/python3; do \
	  [ -n "$$one" ] || continue; \
	  if "$$one" -c 'import ensurepip, ssl, sqlite3, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python="$$one"; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make setup: no Python 3.11 or later with venv was found; install one (Debian: apt-get install python3-venv) or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "set-up: $$("$$python" -c 'import sys; print(sys.version.split()[0], sys.executable)')"; \
	"$$python" -m venv --clear $(VENV); \
	for try in 1 2 3; do \
	  if $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt; then break; fi; \
	  if [ $$try = 3 ]; then echo "make setup: the pinned packages cannot be installed (above); is the package index reachable?" >&2; exit 1; fi; \
	  echo "set-up: try $$try failed, again in 10 s" >&2; sleep 10; \
	done; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .; \
	mkdir -p $(VENV)/names; ln -sfn ../../executors $(VENV)/names/uici_executors; ln -sfn ../../infrastructure $(VENV)/names/uici_infrastructure; \
	touch $(STAMP); \
	echo "set-up: done, $$($(BIN)/python -m pip list --disable-pip-version-check --format=freeze | wc -l) packages in $(VENV)"

demo: $(STAMP)  ## a recovery in front of you: make demo, or make demo ENV=docker, or ENV=kubernetes
	@$(BIN)/uici demo --environment $(ENV)

# Everything is run before the verdict, so that one run shows all that is wrong; pytest's summary comes last.
test: $(STAMP)  ## lint, types, floors and every test (under CI=true as root it installs the engines first)
	@if [ "$${CI:-}" = true ] && [ "$$(id -u)" = 0 ]; then $(MAKE) engines; fi
	@bad=0; $(MAKE) lint || { bad=1; echo "make test: lint (above) failed, so the run fails; the tests run all the same"; }; \
	$(MAKE) unit || bad=1; exit $$bad

lint: $(STAMP)  ## ruff, mypy --strict and the floors (import-linter)
	@bad=; say() { echo "== $$*"; }; \
	say ruff check; $(BIN)/ruff check . || bad="$$bad ruff-check"; \
	say ruff format --check; $(BIN)/ruff format --check . || bad="$$bad ruff-format"; \
	say mypy --strict; $(BIN)/mypy || bad="$$bad mypy"; \
	say lint-imports; $(BIN)/lint-imports --no-cache || bad="$$bad lint-imports"; \
	if [ -n "$$bad" ]; then echo "make lint: failed:$$bad" >&2; exit 1; fi

unit: $(STAMP)  ## the tests alone
	@echo "== pytest"; $(BIN)/python -X faulthandler -m pytest -n $(WORKERS) --dist loadgroup --durations 10 --durations-min 5 $(TESTS)

format: $(STAMP)  ## ruff format, and what ruff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# Both parts are tried, whatever becomes of the other; what is missing at the end, the tests name.
engines:  ## what the tests start: Debian packages (root), and Kubernetes and helm built from source (minutes, once)
	@bad=0; $(MAKE) engine-packages || bad=1; $(MAKE) engine-builds || bad=1; exit $$bad

# Any Go will do: one that is too old fetches a newer one.
engine-packages:
	@missing=; go=; command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || go=golang-go; \
	for one in $(TEST_PACKAGES) $$go; do \
	  dpkg-query -W -f '$${db:Status-Status}' $$one 2>/dev/null | grep -qx installed || missing="$$missing $$one"; done; \
	if [ -z "$$missing" ]; then echo "engines: all installed ($(TEST_PACKAGES))"; exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "engines: these want root to be installed:$$missing" >&2; exit 1; fi; \
	echo "engines: installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	dpkg --configure -a </dev/null || true; \
	for try in 1 2 3; do \
	  if apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 update -qq </dev/null && \
	     apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold $$missing </dev/null; then \
	    echo "engines: installed"; exit 0; fi; \
	  echo "engines: try $$try failed" >&2; \
	  if [ $$try != 3 ]; then apt-get -y -qq -f install </dev/null || true; dpkg --configure -a </dev/null || true; sleep 10; fi; \
	done; \
	echo "engines: these could not be installed:$$missing (apt's messages are above); the tests that need them will say so" >&2; exit 1

engine-builds:
	@for one in $(BIN)/python python3 /usr/bin/python3 python3.13 python3.12 python3.11; do \
	  if "$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then exec "$$one" -m tests.engines; fi; \
	done; echo "engines: no Python 3.11 or later was found" >&2; exit 1

bench: $(STAMP)  ## the figures of the README, each beside its floor or peer in the same run
	@$(BIN)/python -m compileall -q uici executors infrastructure  # as an installed package is
	@$(BIN)/python -m benchmarks

reference: $(STAMP)  ## JSON Schemas and the generated pages of docs/reference
	@$(BIN)/python -m docs.generate

constraints:  ## resolve the newest versions into constraints.txt, with all their hashes and no addresses
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; python3 -m venv "$$work/venv"; "$$work/venv/bin/pip" install --quiet uv; \
	"$$work/venv/bin/uv" pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --no-annotate --no-emit-index-url --no-config --quiet --output-file "$$work/constraints.txt"; \
	if grep -n '://' "$$work/constraints.txt"; then echo "make constraints: an address slipped in (above)" >&2; exit 1; fi; \
	{ sed -n '/^#/p' constraints.txt; cat "$$work/constraints.txt"; } > "$$work/new"; cp "$$work/new" constraints.txt

build: $(STAMP)  ## wheel and sdist in dist/, without the network
	@$(BIN)/python -c 'import setuptools.build_meta as build; build.build_sdist("dist"); build.build_wheel("dist")' >/dev/null; ls dist

clean:  ## remove .venv and everything that was generated beside the code
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache; find . -name __pycache__ -type d -prune -exec rm -rf {} +
