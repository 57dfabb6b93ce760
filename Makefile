# Two commands: `make demo` and `make test`. Both set up .venv from requirements.txt and reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

.PHONY: demo test check bench pins clean

demo: $(VENV)/.ready
	$(BIN)/curate demo demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready
	$(BIN)/python -m tests.benchmarks

# After a change of the dependencies in pyproject.toml.
pins: $(VENV)/.ready
	$(BIN)/uv pip compile pyproject.toml --extra dev --no-header --no-annotate --python-version 3.11 -o requirements.txt

clean:
	rm -rf $(VENV) demo build *.egg-info

# --no-deps: the pins are complete, and pyproject's override keeps a second OpenCV out of them.
$(VENV)/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "curate needs Python 3.11 or later"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python has no venv (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --no-deps -r requirements.txt -e .
	@touch $@
