# make demo       trains a small character model, exports and verifies it, and prints text that ONNX Runtime generated
# make test       lint, types, import rules and the tests; make test-slow runs the long ones
#
# Each installs what it needs into .venv, once. Needs Python 3.11, 3.12 or 3.13.

VENV ?= .venv
BIN = $(VENV)/bin
PYTHON ?= python3 python3.13 python3.12 python3.11
# The CPU build of TensorFlow is half the download. `make TRAIN=train` installs the one that also drives NVIDIA GPUs.
TRAIN ?= $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),train-cpu,train)
# One process per core: the tests trace and convert more than they compute.
SPREAD = -n auto --dist worksteal
SUITABLE = import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.PHONY: demo test test-slow lint clean

demo: $(VENV)/train.stamp
	$(BIN)/python -m pipelines.char_lm quick

test: lint
	$(BIN)/python -m pytest $(SPREAD)

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow $(SPREAD)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/train.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing TensorFlow and what tfseq needs into $(VENV): a few minutes, once."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(TRAIN)]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/train.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(TRAIN),dev]"
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c '$(SUITABLE)' 2>/dev/null; then exec $$python -m venv $(VENV); fi; \
	done; \
	echo "Needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt install python3-venv);" \
	     "name one with: make PYTHON=python3.12" >&2; \
	exit 1
