# `make` prints what there is. Everything happens in a virtual environment.

PYTHON ?= python3
VENV ?= .venv
CLANG ?= clang
ROUNDS ?= 1000
SECONDS ?= 60

C_FILES := $(shell find csrc -name '*.[ch]' | sort)
CORE_FILES := $(filter csrc/core/%.c,$(C_FILES))
SOURCES := setup.py pyproject.toml $(C_FILES)
CORE_WARNINGS := -std=c11 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion \
	-Wsign-conversion -Wshadow -Wstrict-prototypes -Werror -Icsrc
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD := SHMEMEXT_WERROR=1 $(PIP) install --no-build-isolation --editable

SPHINX := $(BIN)/python -m sphinx -q -W -n -d build/doctrees

.PHONY: help build demo test lint format docs docs-test bench bench-quick bench-plots storm sanitize tsan fuzz wheel sdist-test release-test clean

help:  ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 22

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip 'setuptools>=77'

$(VENV)/.built: $(SOURCES) | $(BIN)/python
	$(BUILD) .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) install --prefer-binary --group test
	@touch $@

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	$(PIP) install --prefer-binary --group lint
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(PIP) install --prefer-binary --group docs
	@touch $@

$(VENV)/.moving-on: pyproject.toml | $(BIN)/python
	$(PIP) install --prefer-binary --group moving-on
	@touch $@

$(VENV)/.release: pyproject.toml | $(BIN)/python
	$(PIP) install --prefer-binary --group release
	@touch $@

# Each peer is optional: what does not install is named, and left out.
$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python benchmarks/install.py
	@touch $@

build: $(VENV)/.built  ## build into a virtual environment, .venv

demo: build  ## run the README's programs: two applications meet in a segment
	@$(BIN)/python examples/demo.py

test: $(VENV)/.built $(VENV)/.test  ## build with warnings as errors, run the tests
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.built $(VENV)/.test $(VENV)/.lint  ## ruff, mypy, stubtest, clang-format, gcc and clang with -Werror
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest shmemext --allowlist tests/stubtest-allowlist.txt
	$(BIN)/python -m pytest -q tests/type_checks.py
	clang-format --dry-run --Werror $(C_FILES)
	$(CC) $(CORE_WARNINGS) $(CORE_FILES)
	$(CLANG) $(CORE_WARNINGS) $(CORE_FILES)
	CC=$(CLANG) SHMEMEXT_WERROR=1 $(BIN)/python setup.py -q build_ext --force --build-temp build/clang --build-lib build/clang

format: $(VENV)/.lint  ## let ruff and clang-format write
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	clang-format -i $(C_FILES)

docs: $(VENV)/.built $(VENV)/.docs  ## the site, in build/docs: warnings are errors, its examples run
	$(SPHINX) -E -b html --keep-going docs build/docs
	$(SPHINX) -b doctest docs build/doctest

docs-test: $(VENV)/.built $(VENV)/.test $(VENV)/.moving-on  ## run every block of the docs, those with MPI, Dask and Ray too
	$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

bench: build $(VENV)/.bench  ## measure against the standard library and other peers, ten minutes
	$(BIN)/python benchmarks/run.py --json build/bench.json $(ARGS)

bench-quick: build $(VENV)/.bench  ## the same with fewer rounds and peers, under a minute
	$(BIN)/python benchmarks/run.py --quick $(ARGS)

bench-plots: $(VENV)/.bench  ## draw docs/img from what `make bench` has left in build/bench.json
	$(BIN)/python benchmarks/plots.py build/bench.json docs/img

storm: build  ## kill random members of process families for ROUNDS rounds
	$(BIN)/python tests/storm.py --rounds $(ROUNDS) $(ARGS)

sanitize:  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	tests/sanitize.sh address $(PYTHON)

tsan:  ## the thread tests under ThreadSanitizer; PYTHON is a TSan build
	tests/sanitize.sh thread $(PYTHON)

fuzz:  ## libFuzzer at the lists' layout, under both sanitizers; SECONDS=60
	@mkdir -p build/fuzz/found
	$(CLANG) -std=c11 -g -O1 -Wall -Wextra -Werror -Icsrc -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/core/fuzz_list.c $(filter csrc/core/list/%.c,$(C_FILES)) -o build/fuzz/fuzz_list
	build/fuzz/fuzz_list -max_total_time=$(SECONDS) -max_len=2048 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 -artifact_prefix=build/fuzz/ build/fuzz/found tests/core/corpus

wheel: $(VENV)/.release  ## build an sdist, and of it a wheel, into dist/
	rm -rf dist
	$(BIN)/python -m build

sdist-test: wheel $(VENV)/.built $(VENV)/.test  ## install the sdist elsewhere and run all tests from there
	SHMEMEXT_SDIST_TESTS=all $(BIN)/python -m pytest tests/release.py -k sdist $(ARGS)

release-test: wheel $(VENV)/.built $(VENV)/.test  ## what is in dist/: contents, tags, and that it works where it is installed
	$(BIN)/python -m pytest tests/release.py $(ARGS)

clean:  ## remove what was built
	rm -rf build dist *.egg-info $(VENV) .venv-address-* .venv-thread-* .mypy_cache .ruff_cache .hypothesis
	rm -f shmemext/*.so shmemext/shmemext-reaper
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
