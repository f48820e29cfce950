# Each target sets up what it needs. TORCH_INDEX=<index of CPU wheels> keeps CUDA off machines without a GPU.
PYTHON ?= python3
TORCH_INDEX ?=
VENV ?= .venv
RUN ?= runs/quickstart
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Two workers with one thread each: small models gain nothing from more threads. The order of the tests is drawn anew each
# time and its seed printed at the top; `make test PYTEST_ARGS=--randomly-seed=SEED` repeats it.
PYTEST_ARGS ?=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

.PHONY: quickstart test test-slow test-all lint types layers check picture clean

quickstart: $(INSTALLED)
	$(BIN)/stillage quickstart --out $(RUN)

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(INSTALLED)
	$(PYTEST) -m "slow and not gpu"

test-all: $(INSTALLED)
	$(PYTEST) -m "not gpu"

lint: $(INSTALLED)
	$(BIN)/ruff check src tests benchmarks recipes
	$(BIN)/ruff format --check src tests benchmarks recipes

types: $(INSTALLED)
	$(BIN)/pyright

layers: $(INSTALLED)
	$(BIN)/lint-imports

check: lint types layers test

# the virtual environment: pinned versions, the package itself in place
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e ".[dev]"
	touch $@

# the picture of the README, from a finished quickstart
picture: $(INSTALLED)
	$(BIN)/python docs/images/make_screenshot.py $(RUN)/report/report.html

clean:
	rm -rf $(VENV) build dist src/*.egg-info
