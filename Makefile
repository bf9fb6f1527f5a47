# make demo       trains a small character model, exports and verifies it, and prints text that ONNX Runtime generated
# make quick      runs every pipeline on data that comes with packages: half a minute to two minutes each (the tests do
#                 so with a step of training); SKIP=char_lm leaves some out, JOBS=2 runs two at a time
# make zoo        makes everything in exported/ again: those, the character model with each cell and for longer, tunes
#                 that add up, captioners that read every scene
# make install    what all of these need
# make test       lint, types, import rules and the tests; make test-slow runs the long ones
# make test-oldest  some of the tests with the oldest versions that work (constraints-oldest.txt)
# make test-hub   the tests of KerasHub's models, which bring another build of TensorFlow
# make test-js    the JavaScript client beside Python; needs Node 20 or later
# make contents   the first docstring line of every module, one under the other; FOLDERS="tfseq/data" for some
#
# Each installs what it needs into .venv, once. Needs Python 3.11, 3.12 or 3.13.

VENV ?= .venv
BIN = $(VENV)/bin
PYTHON ?= python3 python3.13 python3.12 python3.11
# The CPU build of TensorFlow is half the download. `make TRAIN=train` installs the one that also drives NVIDIA GPUs.
TRAIN ?= $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),train-cpu,train)
# What takes pip's arguments; `uv pip install --python .venv/bin/python` is quicker.
INSTALL ?= $(BIN)/python -m pip install --quiet
# One process per core: the tests trace and convert more than they compute.
SPREAD = -n auto --dist worksteal
# They have an environment of their own.
OLDEST ?= .venv-oldest
HUB ?= .venv-hub
OLDEST_TESTS = tests/test_keras_versions.py tests/runtime \
    tests/exporting/test_export.py::test_every_cell_predicts_the_same_from_the_file \
    tests/exporting/test_export.py::test_a_functional_model_keeps_its_names \
    tests/exporting/rewriting/test_fusion.py::test_masked_queries_get_what_keras_gives_them
SUITABLE = import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

JS = clients/js

# Names of pipelines; behind a colon a preset other than quick, behind commas further arguments. Read by
# tests/pipelines/test_quick.py, too.
QUICK = char_lm blood_pressure image_classification image_naming text_classification video_classification \
    series_classification delayed_answer frame_classification seq2seq attention_seq2seq forecasting glimpses music \
    transformer transformer_lm state_space_lm text_classification:quick_transformer vision_transformer \
    captioning,--architecture,cnn_rnn captioning captioning,--architecture,cnn_transformer captioning:quick_vit
SKIP =
JOBS = 1
# Of a name as above; with several jobs, each prints what it has to say when it is done.
define RUN_QUICK
case $$1 in *:*) run=$$1 ;; *) run=$$(echo "$$1" | sed 's/^[^,]*/&:quick/') ;; esac
python=$$2; set -- $$(echo "$$run" | tr :, '  ')
began=$$(date +%s)
if [ "$(JOBS)" = 1 ]; then echo "== pipelines.$$*"; $$python -m pipelines."$$@"; status=$$?
else said=$$($$python -m pipelines."$$@" 2>&1); status=$$?; printf '== pipelines.%s\n%s\n' "$$*" "$$said"; fi
echo "== pipelines.$$*: $$(($$(date +%s) - began)) s"
[ $$status = 0 ] || exit 255
endef
export RUN_QUICK
CAPTIONERS = cnn_rnn cnn_rnn_attention cnn_transformer # a minute each
CELLS = rnn irnn lstm gru # of the character models, for twice as many steps as quick makes

.PHONY: demo quick zoo install test test-slow test-oldest test-with-oldest test-hub test-with-hub test-js lint contents clean

demo: $(VENV)/train.stamp
	$(BIN)/python -m pipelines.char_lm quick

quick: $(VENV)/data.stamp
	@printf '%s\n' $(filter-out $(SKIP),$(QUICK)) | xargs -P $(JOBS) -I '{}' sh -c "$$RUN_QUICK" sh '{}' $(BIN)/python

zoo: quick
	@for cell in $(CELLS); do \
	    $(BIN)/python -m pipelines.char_lm quick --cell $$cell --training.steps 2000 --training.learning-rate 6e-3 || exit 1; \
	done
	$(BIN)/python -m pipelines.music ryan
	@for way in $(CAPTIONERS); do $(BIN)/python -m pipelines.captioning full --architecture $$way || exit 1; done
	$(BIN)/python -m pipelines.captioning full_vit

install: $(VENV)/dev.stamp

test: lint
	$(BIN)/python -m pytest $(SPREAD)

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow $(SPREAD)

test-oldest:
	@$(MAKE) --no-print-directory VENV=$(OLDEST) test-with-oldest

test-with-oldest: $(VENV)/oldest.stamp
	$(BIN)/python -m pytest -W ignore $(OLDEST_TESTS)

test-hub:
	@$(MAKE) --no-print-directory VENV=$(HUB) test-with-hub

test-with-hub: $(VENV)/hub.stamp
	$(BIN)/python -m pytest -W ignore tests/hub

test-js: $(VENV)/train.stamp $(JS)/node_modules/.package-lock.json
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	echo "Writing files for JavaScript to run, and what Python makes of them." && \
	$(BIN)/python $(JS)/test/fixtures.py "$$folder" && \
	cd $(JS) && npm run --silent types && TFSEQ_FIXTURES="$$folder" npm test --silent

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

FOLDERS ?= tfseq pipelines benchmarks
contents:
	@find $(FOLDERS) -name '*.py' | sort | xargs awk 'FNR == 1 { gsub(/"""/, ""); printf "%-64s %s\n", FILENAME, $$0 }'

clean:
	rm -rf $(VENV) $(OLDEST) $(HUB) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	    $(JS)/node_modules

$(VENV)/train.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing TensorFlow and what tfseq needs into $(VENV): a few minutes, once."
	$(INSTALL) -c constraints.txt -e ".[$(TRAIN)]"
	@touch $@

$(VENV)/data.stamp: $(VENV)/train.stamp
	$(INSTALL) -c constraints.txt -e ".[$(TRAIN),data]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/train.stamp
	$(INSTALL) -c constraints.txt -e ".[$(TRAIN),dev]"
	$(INSTALL) -c constraints.txt --no-deps tf_keras # Keras 2; by itself it would install the other TensorFlow, too
	@touch $@

$(VENV)/oldest.stamp: pyproject.toml constraints-oldest.txt | $(BIN)/python
	@echo "Installing the oldest TensorFlow and what tfseq needs into $(VENV): a few minutes, once."
	$(INSTALL) -c constraints-oldest.txt -e ".[$(TRAIN)]" pytest hypothesis
	@touch $@

$(VENV)/hub.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing KerasHub and what tfseq needs into $(VENV): a few minutes, once."
	$(INSTALL) -c constraints.txt -e ".[$(TRAIN),hub]" pytest hypothesis
	@touch $@

$(JS)/node_modules/.package-lock.json: $(JS)/package.json $(JS)/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && \
	    command -v npm >/dev/null || { \
	    echo "Needs Node 20 or later with npm (on Debian: apt install nodejs npm)." >&2; exit 1; }
	cd $(JS) && npm ci --ignore-scripts --prefer-offline --no-audit --no-fund
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c '$(SUITABLE)' 2>/dev/null; then exec $$python -m venv $(VENV); fi; \
	done; \
	echo "Needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt install python3-venv);" \
	     "name one with: make PYTHON=python3.12" >&2; \
	exit 1
