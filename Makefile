# Needs make and Python 3.10 or newer; everything else goes into .venv.
# To use another Python: make train PYTHON=python3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help train test check format proto bench docs clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/.user ## Train LeNet on the sample data
	$(BIN)/caffe-lite train configs/lenet/solver.prototxt

test: $(VENV)/.dev ## Run the tests, with the slow ones if CI is set: make test CI=1
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(if $(CI),,-m "not slow")

check: $(VENV)/.dev ## Lint, check the formatting, the types, the generated messages and the configs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/make_proto.py --check
	$(BIN)/caffe-lite check configs/*/*.prototxt

format: $(VENV)/.dev ## Fix imports and formatting
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

proto: $(VENV)/.dev ## Generate caffe_pb2 from proto/*.proto
	$(BIN)/python tools/make_proto.py

bench: build/bench/.done ## Time training against PyTorch, and nets of detection against OpenCV 4
	build/bench/bin/python tools/bench.py
	build/bench/bin/python tools/bench_opencv.py

docs: $(VENV)/.docs ## Build the documentation: build/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.user: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.user

build/bench/.done: pyproject.toml
	$(PYTHON) -m venv build/bench
	build/bench/bin/python -m pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/.docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/.user
