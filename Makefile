# `make` prints what there is. Everything happens in a virtual environment.

PYTHON ?= python3
VENV ?= .venv
CLANG ?= clang
CORE_CC ?= $(CC)
ROUNDS ?= 1000
SECONDS ?= 60

# Folders too: their time says that a file went.
C_TREE := $(shell find csrc | sort)
C_FILES := $(filter %.c %.h,$(C_TREE))
CORE_FILES := $(filter csrc/core/%.c,$(C_FILES))
CORE_WARNINGS := -std=c11 -D_FILE_OFFSET_BITS=64 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion \
	-Wsign-conversion -Wshadow -Wstrict-prototypes -Werror -Icsrc
BIN := $(VENV)/bin
BUILD := SHMEMEXT_WERROR=1 $(BIN)/python setup.py -q build_ext
EDITABLE := SHMEMEXT_WERROR=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-build-isolation --editable
# One file or two for each promise that would hurt most: what the standard
# library does, no crash, names that go and stay, lists, other processes.
QUICK := shared_memory cpython crash guard full lifetime shareable_list processes
GROUPS := test lint docs moving-on servers camera release consumers portable

define PYTHON_IS_MISSING
shmemext needs CPython 3.11 or later, and there is no $(PYTHON): apt install python3-venv (Debian, Ubuntu), dnf install python3 (Fedora) or apk add python3 (Alpine), or name one, make PYTHON=python3.13.
endef
define TOOL_IS_MISSING
make lint and make fuzz need $$tool: apt install clang clang-format (Debian, Ubuntu), dnf install clang clang-tools-extra (Fedora) or apk add clang clang-extra-tools (Alpine).
endef
define SPIN_IS_MISSING
make model needs spin and gcc, and there is no $$tool: apt install spin gcc (Debian, Ubuntu).
endef
stop = { echo "$1" >&2; exit 1; }

SPHINX := $(BIN)/python -m sphinx -q -W -n -d build/doctrees

.PHONY: help build demo test test-quick mutants core musl portable missing clang lint format docs docs-links docs-test bench bench-quick bench-plots storm storm-users storm-sync crash-sync storm-channels crash-channels hostile-channels storm-arrays crash-arrays hostile-arrays sanitize tsan fuzz model wheel wheel-test sdist-test release-test clean

help:  ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 26

# The stamp is the last to be made: what failed half way is not taken for done.
$(VENV)/.made: $(if $(wildcard $(BIN)/python),,FORCE)
	@command -v $(PYTHON) >/dev/null || $(call stop,$(PYTHON_IS_MISSING))
	$(PYTHON) tools/environment.py $(VENV)
	@touch $@

FORCE:

# Of the time before, for what is written meanwhile.
$(VENV)/.built: setup.py $(wildcard tools/*.py) $(C_TREE) | $(VENV)/.made
	@touch $@.begun
	$(BUILD) --inplace
	@mv $@.begun $@

$(VENV)/.editable: pyproject.toml | $(VENV)/.built
	$(EDITABLE) .
	@touch $@

$(GROUPS:%=$(VENV)/.%): $(VENV)/.%: pyproject.toml | $(VENV)/.made
	$(BIN)/python tools/environment.py $(VENV) $*
	@touch $@

# Each peer is optional: what does not install is named, and left out.
$(VENV)/.bench: pyproject.toml | $(VENV)/.made
	$(BIN)/python benchmarks/install.py
	@touch $@

$(VENV)/.bench-large: pyproject.toml | $(VENV)/.made
	$(BIN)/python benchmarks/install.py --large
	@touch $@ $(VENV)/.bench

build: $(VENV)/.built $(VENV)/.editable  ## build into a virtual environment, .venv

demo: build  ## run the README's programs: two applications meet in a segment
	@$(BIN)/python examples/demo.py

test: build $(VENV)/.test  ## build with warnings as errors, run the tests: 20 minutes on two cores
	@$(if $(ARGS),,echo "all tests, about 20 minutes on two cores; make test-quick takes under two")
	$(BIN)/python -m pytest $(ARGS)

test-quick: build $(VENV)/.test  ## run those that matter most: under two minutes on two cores
	$(BIN)/python -m pytest $(QUICK:%=tests/test_%.py) $(ARGS)

mutants: build $(VENV)/.test  ## put faults into the core, one at a time: a test must catch each
	$(BIN)/python -m pytest $(wildcard tests/test_*_mutants.py) $(ARGS)

core: build $(VENV)/.test  ## the core and the reaper without Python, by CORE_CC
	CC="$(CORE_CC)" $(BIN)/python -m pytest tests/test_core.py $(ARGS)

musl: CORE_CC := musl-gcc
musl: core  ## the same with musl, see musl-gcc(1)

portable: $(VENV)/.portable  ## compile the core for macOS, FreeBSD and the oldest glibc, by zig
	$(BIN)/python -m pytest --noconftest tests/portable.py $(ARGS)

missing: build $(VENV)/.test  ## tests on systems that lack a call, each in turn, or forbid it
	$(BIN)/python -m pytest tests/missing.py $(ARGS)

clang:
	@for tool in $(CLANG) clang-format; do command -v $$tool >/dev/null || $(call stop,$(TOOL_IS_MISSING)); done

lint: clang build $(VENV)/.test $(VENV)/.lint  ## ruff, mypy, stubtest, clang-format, gcc and clang with -Werror
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest shmemext --allowlist tests/stubtest-allowlist.txt
	$(BIN)/python -m pytest -q tests/type_checks.py
	clang-format --dry-run --Werror $(C_FILES)
	$(CC) $(CORE_WARNINGS) $(CORE_FILES)
	$(CLANG) $(CORE_WARNINGS) $(CORE_FILES)
	CC=$(CLANG) $(BUILD) --build-lib build/clang

format: $(VENV)/.lint  ## let ruff and clang-format write
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	clang-format -i $(C_FILES)

docs: build $(VENV)/.docs  ## the site, in build/docs: warnings are errors, its examples run, its links lead somewhere
	$(SPHINX) -E -b html --keep-going docs build/docs
	$(SPHINX) -b doctest docs build/doctest

docs-links: build $(VENV)/.docs  ## ask the other hosts for all that the pages link to: needs a network
	$(SPHINX) -b linkcheck docs build/linkcheck

docs-test: build $(VENV)/.test $(VENV)/.moving-on $(VENV)/.servers $(VENV)/.camera  ## run every block of the docs, those with MPI, Dask, Ray, gunicorn, Celery and OpenCV too
	$(BIN)/python -m pytest tests/test_docs.py tests/test_readme.py $(ARGS)

bench: build $(VENV)/.bench-large  ## measure against the standard library and all peers: eighteen minutes
	$(BIN)/python benchmarks/run.py --json build/bench.json $(ARGS)

bench-quick: build $(VENV)/.bench  ## the same with fewer rounds and sides: under a minute
	$(BIN)/python benchmarks/run.py --quick $(ARGS)

bench-plots: $(VENV)/.bench  ## draw docs/img, write the tables of docs/speed.md and README.md from what `make bench` has left in build/bench.json
	$(BIN)/python benchmarks/plots.py build/bench.json docs/img
	$(BIN)/python benchmarks/report.py build/bench.json --keep docs/bench.json docs/speed.md README.md

storm: build  ## kill random members of process families for ROUNDS rounds
	$(BIN)/python tests/storm.py --rounds $(ROUNDS) $(ARGS)

storm-users: build  ## kill random users of segments that go with their last one, for ROUNDS rounds
	$(BIN)/python -W ignore tests/storm_users.py --rounds $(ROUNDS) $(ARGS)

CORE_PROGRAMS := storm_sync crash_sync crash_groups_sync storm_ring crash_ring crash_take_ring hostile_ring storm_broadcast crash_broadcast hostile_broadcast storm_pool crash_pool crash_beside_pool hostile_pool
build/hostile_ring build/hostile_broadcast build/hostile_pool: SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all
$(CORE_PROGRAMS:%=build/%): build/%: tests/core/%.c $(wildcard tests/core/*.h) $(C_FILES)
	@mkdir -p build
	$(CC) -std=c11 -D_FILE_OFFSET_BITS=64 -g -O2 -Wall -Wextra -Wpedantic -Werror $(SANITIZERS) -Icsrc $< $(filter-out %/reaper.c,$(CORE_FILES)) -pthread -o $@

storm-sync: build/storm_sync  ## kill random users of locks and their like, for SECONDS seconds
	build/storm_sync $(SECONDS) $(ARGS)

crash-sync: build/crash_sync build/crash_groups_sync  ## kill them after every single instruction, for half an hour
	build/crash_sync $(ARGS)
	build/crash_groups_sync $(ARGS)

# Seconds of each of the kinds of users, in C six and one.
storm-channels: build/storm_ring build/storm_broadcast build  ## kill random users of messages and of frames, in C and in Python, each kind for SECONDS seconds
	build/storm_ring $$((6 * $(SECONDS)))
	build/storm_broadcast $(SECONDS)
	$(BIN)/python -W ignore tests/storm_channels.py --each $(SECONDS) $(ARGS)

crash-channels: build/crash_ring build/crash_take_ring build/crash_broadcast  ## kill them after every single instruction, for half an hour
	build/crash_ring $(ARGS)
	build/crash_take_ring $(ARGS)
	build/crash_broadcast $(ARGS)

hostile-channels: build/hostile_ring build/hostile_broadcast  ## write random words over a ring, and a broadcast, that others use, for SECONDS seconds each
	build/hostile_ring $(SECONDS)
	build/hostile_broadcast $(SECONDS)

storm-arrays: build/storm_pool build $(VENV)/.test  ## kill random users of arrays that travel by reference, in C and in Python, for SECONDS seconds each
	build/storm_pool $(SECONDS)
	$(BIN)/python -W ignore tests/storm_arrays.py --seconds $(SECONDS) $(ARGS)

crash-arrays: build/crash_pool build/crash_beside_pool  ## kill users of a pool after every single instruction, for half an hour
	build/crash_pool $(ARGS)
	build/crash_beside_pool $(ARGS)

hostile-arrays: build/hostile_pool  ## write random words over a pool that others use, for SECONDS seconds
	build/hostile_pool $(SECONDS)

sanitize:  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	tests/sanitize.sh address $(PYTHON) $(ARGS)

tsan:  ## the thread tests under ThreadSanitizer; PYTHON is a TSan build
	tests/sanitize.sh thread $(PYTHON)

fuzz: clang  ## libFuzzer at the lists' layout, under both sanitizers; SECONDS=60
	@mkdir -p build/fuzz/found
	$(CLANG) -std=c11 -D_FILE_OFFSET_BITS=64 -g -O1 -Wall -Wextra -Werror -Icsrc -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/core/fuzz_list.c $(filter csrc/core/list/%.c,$(C_FILES)) -o build/fuzz/fuzz_list
	build/fuzz/fuzz_list -max_total_time=$(SECONDS) -max_len=2048 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 -artifact_prefix=build/fuzz/ build/fuzz/found tests/core/corpus

model:  ## Spin looks at every state of the models in tests/models: minutes
	@for tool in spin gcc; do command -v $$tool >/dev/null || $(call stop,$(SPIN_IS_MISSING)); done
	$(PYTHON) tests/models/run.py $(ARGS)

wheel: $(VENV)/.release  ## build an sdist, and of it a wheel, into dist/
	rm -rf dist
	$(BIN)/python -m build

wheel-test: $(VENV)/.test  ## a wheel of the sdist, by this Python, and what is installed of it works outside the tree
	$(BIN)/python -m pytest --noconftest tests/installed.py $(ARGS)

sdist-test: wheel build $(VENV)/.test  ## install the sdist elsewhere and run all tests from there
	SHMEMEXT_SDIST_TESTS=all $(BIN)/python -m pytest tests/release.py -k sdist $(ARGS)

release-test: wheel build $(VENV)/.test  ## what is in dist/: contents, tags, and that it works where it is installed, and frozen
	$(BIN)/python -m pytest tests/release.py tests/frozen.py $(ARGS)

clean:  ## remove what was built
	rm -rf build dist *.egg-info $(VENV) .venv-address-* .venv-thread-* .mypy_cache .ruff_cache .hypothesis
	rm -f shmemext/*.so shmemext/shmemext-reaper
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: consumers downstream

consumers: build $(VENV)/.test $(VENV)/.consumers  ## memory stays for torch, pyarrow, Qt and others that take it without a copy; what packages send goes by reference, or as ever
	$(BIN)/python -m pytest tests/consumers/consumers.py tests/consumers/starters.py tests/consumers/tensors.py tests/consumers/handoffs.py tests/test_examples.py $(ARGS)

downstream: build  ## the suites of other packages, on the standard library and over install()
	$(BIN)/python tests/downstream/run.py $(ARGS)
