# make demo     environment, install, train on the embedded digits, pictures in demo/
# make test     lint, types, layers, tests
# make docs     the documentation site, in docs/_build/html; the gallery runs, so it takes minutes
# make lecture  the figures of the lecture's six parts, in figures/
# make weights  the wheel of the trained networks, which are a package of their own
# make stubs    what editors and type checkers see, written again
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := $(VENV)/.ready-docs

.PHONY: demo docs lecture test test-long lint types layers stubs weights test-kills test-fuzz clean

$(READY): pyproject.toml constraints.txt weights/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]" --editable ./weights
	touch $(READY)

$(DOCS): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(DOCS)

docs: $(DOCS)
	$(BIN)/python -m sphinx --builder html --fail-on-warning --nitpicky --keep-going docs docs/_build/html
	$(BIN)/python docs/links.py docs/_build/html
	@echo; echo "Open docs/_build/html/index.html"

lecture: $(READY)
	$(BIN)/python docs/figures.py examples/lecture/*.py --out figures

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
	COPYFOLD_SLOW=1 $(BIN)/pytest -n 2 tests/unit/test_snippets.py tests/e2e/test_examples.py tests/e2e/test_studies.py

test-kills: $(READY)
	COPYFOLD_KILLS=200 $(BIN)/pytest -n 2 tests/long/test_kills.py tests/long/test_kills_of_commands.py

test-fuzz: $(READY)
	$(BIN)/python tests/fuzzing.py --cases 5000
	$(BIN)/python tests/fuzzing.py --cases 200 --seed 1 --real

clean:
	rm -rf $(VENV) demo figures weights/dist docs/_build docs/reference docs/choosing docs/project docs/gallery/lecture docs/gallery/essay \
		docs/gallery/use docs/gallery/backreferences
