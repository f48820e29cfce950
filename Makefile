# Each target sets up what it needs. TORCH_INDEX=<index of CPU wheels> keeps CUDA off machines without a GPU.
PYTHON ?= python3
TORCH_INDEX ?=
VENV ?= .venv
RUN ?= runs/quickstart
NEWEST ?= .venv-newest
OLDEST ?= .venv-oldest
TESTS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Two workers with one thread each: small models gain nothing from more threads. The order of the tests is drawn anew each
# time and its seed printed at the top; `make test PYTEST_ARGS=--randomly-seed=SEED` repeats it.
PYTEST_ARGS ?=
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

.PHONY: quickstart test test-slow test-all test-newest test-oldest lint types layers check figures reference picture clean

quickstart: $(INSTALLED)
	$(BIN)/stillage quickstart --out $(RUN)

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(INSTALLED)
	$(PYTEST) -m "slow and not gpu"

test-all: $(INSTALLED)
	$(PYTEST) -m "not gpu"

# the newest release of everything, whatever constraints.txt says; TESTS=tests/models runs a part
test-newest: BIN := $(NEWEST)/bin
test-newest:
	test -x $(BIN)/python || $(PYTHON) -m venv $(NEWEST)
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e ".[dev]"
	$(PYTEST) -m "not slow and not gpu" $(TESTS)

# the lower bounds of pyproject.toml, with what they need in its newest release that fits; on the oldest Python that it names
test-oldest: BIN := $(OLDEST)/bin
test-oldest:
	test -x $(BIN)/python || $(PYTHON) -m venv $(OLDEST)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --upgrade --resolution lowest-direct $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --index-strategy unsafe-best-match) -e ".[dev]"
	$(PYTEST) -m "not slow and not gpu" $(TESTS)

lint: $(INSTALLED)
	$(BIN)/ruff check src tests tools benchmarks recipes examples
	$(BIN)/ruff format --check src tests tools benchmarks recipes examples

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

# how easy the code is to read, in figures; BASE=REVISION compares the number of lines
figures: $(INSTALLED)
	$(BIN)/python tools/figures.py $(if $(BASE),--base $(BASE))

# the pages of docs/reference/ that the code decides
reference: $(INSTALLED)
	$(BIN)/python tools/reference.py

# the picture of the README, from a finished quickstart
picture: $(INSTALLED)
	$(BIN)/python docs/images/make_screenshot.py $(RUN)/report/report.html

clean:
	rm -rf $(VENV) $(NEWEST) $(OLDEST) build dist src/*.egg-info
