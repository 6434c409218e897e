# make demo     environment, install, train on the embedded digits, pictures in demo/
# make test     lint, types, layers, tests
# make weights  the wheel of the trained networks, which are a package of their own
# make stubs    what editors and type checkers see, written again
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-long lint types layers stubs weights test-kills test-fuzz clean

$(READY): pyproject.toml constraints.txt weights/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]" --editable ./weights
	touch $(READY)

demo: $(READY)
	$(BIN)/copyfold train --run demo --overwrite --minutes 1.5
	$(BIN)/copyfold sample demo --out demo/films/from-noise.png
	$(BIN)/copyfold sample demo --out demo/films/from-noise.gif
	$(BIN)/copyfold sample demo --out demo/films/from-noise.mp4
	$(BIN)/copyfold sample demo --sampler Walk --sampler.steps 60 --out demo/films/walk.gif
	@echo; echo "Look at:"; ls demo/findings/* demo/films/*

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

layers: $(READY)
	$(BIN)/lint-imports

stubs: $(READY)
	$(BIN)/python scripts/stubs.py

weights: $(READY)
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir weights/dist ./weights
	@ls weights/dist

test: lint types layers
	$(BIN)/pytest -n 2

test-long: $(READY)
	$(BIN)/pytest -n 2 tests/long

test-kills: $(READY)
	COPYFOLD_KILLS=200 $(BIN)/pytest -n 2 tests/long/test_kills.py tests/long/test_kills_of_commands.py

test-fuzz: $(READY)
	$(BIN)/python tests/fuzzing.py --cases 5000

clean:
	rm -rf $(VENV) demo weights/dist
