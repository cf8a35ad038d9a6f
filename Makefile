# make demo: train on generated scenes.  make test: every test.  Both set up .venv first, once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# A process that starts spends its first seconds on imports, and more than twice as many where nothing is compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs format lock clean

help:
	@echo "make demo    set up, then train on generated scenes, score and draw what the networks attend to"
	@echo "make test    set up, then run every test"
	@echo "make lint    set up, then ruff and the type checker"
	@echo "make docs    set up, then the documentation as a site in build/site"
	@echo "make format  let ruff rewrite the code"
	@echo "make lock    pin the newest versions that pyproject.toml allows"
	@echo "make clean   remove the virtual environment and every cache"

setup: $(READY)

$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(READY)
	$(BIN)/python -m jobs.demo $(ARGS)

# Files go to the processes in the order of tests/conftest.py, the longest first. There is one more of them than cores of
# the smallest machine: much of what a test takes is waiting for processes that start.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# Nothing is fetched, and a link or an anchor that leads nowhere is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8001"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --fork-strategy fewest \
	--python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: $(READY)
	$(COMPILE) --extra serve --output-file requirements.txt
	$(COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
