# Needs Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install playground test lint format bench bench-training soak screenshots clean

install: $(STAMP)

# Python compiles what it imports: compiling all of torch here would take as long as installing it.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

playground: $(STAMP)
	$(BIN)/atelier playground

test: $(STAMP)
	$(BIN)/python -m pytest -m "not soak" -n 3 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

# Trains and draws in TRAINING, hours on one core; the same command goes on where it was ended.
TRAINING ?= /tmp/atelier-training
bench-training: $(STAMP)
	$(BIN)/python -m tests.benchmarks.training $(TRAINING)

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak -s

# The pictures in tests/acceptance/screenshots, the README's among them.
screenshots: $(STAMP)
	mkdir -p tests/acceptance/screenshots
	SCREENSHOTS=tests/acceptance/screenshots $(BIN)/python -m pytest tests/acceptance/test_page*.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info
