# A machine with Python 3.11 or newer, pip and make is enough. `make` alone lists what can be made.
PYTHON ?= python3
VENV ?= .venv
RUNS ?= runs/demo
# QUICK=1 trains smaller networks for a shorter time: the whole way, in little time.
QUICK ?=
DEMO_FLAGS ?= $(if $(QUICK),--quick)
BENCH_FLAGS ?= $(if $(QUICK),--quick)
TEXT_EPOCHS ?= $(if $(QUICK),3,16)
# Processes that run tests: one for each processor, unless told otherwise.
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help env demo test quick lint golden docs site wheel bench clean

help:
	@echo 'make demo     train a network to add, ask it for 1024 + 16; train one on text, let it write: under three minutes'
	@echo 'make test     style, types and tests: about twenty minutes on two cores'
	@echo 'make quick    the tests that find most faults, in under two minutes'
	@echo 'make lint     style and types'
	@echo 'make golden   write the golden files anew; read what changed before you commit it'
	@echo 'make docs     write the parts of docs/ that are made from the code anew'
	@echo 'make site     the documentation as a web site, in site/: open site/index.html, or python3 -m http.server -d site to search'
	@echo 'make wheel    a wheel and a source archive in dist/, checked by twine, and tried in a new environment: minutes'
	@echo 'make bench    measure Gatewright beside other software, for a quarter of an hour and on an idle machine'
	@echo 'make env      the environment in $(VENV), with everything for development'
	@echo 'make clean    remove the environment, caches and the runs of the demo'
	@echo 'QUICK=1 makes demo (half a minute) and bench short; PYTHON=python3.12 and VENV=... choose another Python and folder'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gatewright needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

# The stamps say that an environment is complete; they are older than the files that say what belongs into it.
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[train]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.train
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.train

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[bench]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[docs]'
	@touch $@

$(VENV)/.release: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[release]'
	@touch $@

env: $(VENV)/.dev

demo: $(VENV)/.train
	@echo '$(if $(QUICK),About half a minute on two cores.,Two to three minutes on two cores; make demo QUICK=1 takes half a minute.)'
	rm -rf $(RUNS)
	$(BIN)/gatewright train adding --out $(RUNS)/adding $(DEMO_FLAGS)
	$(BIN)/gatewright add $(RUNS)/adding/model.safetensors 1024 16
	$(BIN)/gatewright train text --data python-prose --set epochs=$(TEXT_EPOCHS) --out $(RUNS)/text $(DEMO_FLAGS)
	$(BIN)/gatewright generate $(RUNS)/text/model.safetensors --prompt 'The ' --length 200 --temperature 0.5 --finish

lint: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

test: lint
	$(PYTEST)

quick: $(VENV)/.dev
	$(PYTEST) -q @tests/quick.txt

golden: docs
	$(BIN)/python -m pytest --update-golden
	git status --short tests/golden docs

docs: $(VENV)/.dev
	$(BIN)/python -m tools.system_map
	$(BIN)/python -m tools.conventions
	$(BIN)/python -m tools.rosetta
	$(BIN)/python -m tools.results write
	$(BIN)/python -m tools.reference

site: $(VENV)/.docs
	$(BIN)/python -m tools.website

wheel: $(VENV)/.release
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tools.try_wheel

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.cpu $(BENCH_FLAGS)

clean:
	rm -rf $(VENV) $(RUNS) .pytest_cache .ruff_cache .hypothesis build dist site
