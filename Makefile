# Two commands: `make demo` and `make test`. Both set up .venv from requirements.txt and reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PADDLE := .venv-paddle
UV_VERSION := 0.13.9

# Two processes on two cores; tests that would starve each other stay in one of them (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest
TOGETHER := -n 2 --dist loadgroup
# Some machines ask Python to keep no bytecode: torch would be compiled anew by every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick soak check bench paddle pins clean

demo: $(VENV)/.ready
	$(BIN)/curate demo demo

# All tests; the lines that none runs are printed at the end, and too many of them are a failure.
test: $(VENV)/.ready
	$(PYTEST) $(TOGETHER) --cov

# While editing: what takes a minute.
quick: $(VENV)/.ready
	$(PYTEST) $(TOGETHER) -m "not slow and not ray and not browser and not gpu"

# Random faults for an hour or so; pytest prints the seed by which they come again: `CURATE_SEED=… make soak`.
soak: $(VENV)/.ready
	CURATE_SEED=$${CURATE_SEED:=$$(date +%s)} && export CURATE_SEED && \
	$(PYTEST) $(TOGETHER) -m soak --hypothesis-seed=$$CURATE_SEED

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready
	$(BIN)/python -m tests.benchmarks

# A second environment, in which curate has PaddleOCR; the tests of that backend make it too.
paddle: $(VENV)/.ready $(PADDLE)/.ready

# After a change of the dependencies in pyproject.toml.
COMPILE := $(BIN)/uv pip compile pyproject.toml --no-header --no-annotate --python-version 3.11 --generate-hashes
pins: $(VENV)/.ready
	$(COMPILE) --extra dev -o requirements.txt
	$(COMPILE) --extra paddle --extra paddlepaddle -o requirements-paddle.txt

clean:
	rm -rf $(VENV) $(PADDLE) demo build *.egg-info

# --no-deps: the pins are complete, and pyproject's override keeps a second OpenCV out of them. --require-hashes: a
# package is installed only if it is the very file that was pinned; this folder has no hash and comes by itself.
$(VENV)/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "curate needs Python 3.11 or later"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python has no venv (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --no-deps --require-hashes -r requirements.txt
	$(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

$(PADDLE)/.ready: requirements-paddle.txt pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PADDLE)
	$(BIN)/uv pip install --quiet --python $(PADDLE)/bin/python --no-deps --require-hashes -r requirements-paddle.txt
	$(BIN)/uv pip install --quiet --python $(PADDLE)/bin/python --no-deps -e .
	@touch $@
