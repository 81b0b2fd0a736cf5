# SPDX-License-Identifier: MIT
# `make help` lists the targets.  Everything is set up as needed: .venv, a compiler, the tests' programs.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
BUILT := build/.built
TEST_PROGRAMS := .cache/.test-programs
PEERS := .cache/.peers
SOURCES := $(wildcard csrc/*.c csrc/*.h remotec/*.pyx remotec/*.pxd) setup.py
# The core: what isn't one of the two front ends.
CORE = $(filter-out $(wildcard csrc/preload*.c csrc/run*.c csrc/supervise*.c csrc/syscalls*.c),$(wildcard csrc/*.c))
EDITABLE := $(RUN)/pip install -q --no-build-isolation --config-settings editable_mode=compat -e
SANITIZED := -std=gnu11 -D_GNU_SOURCE -g -O1 -Icsrc -fsanitize=address,undefined -fno-sanitize-recover=all
# What analysers say of memory that a raw system call fills.
FILLED_BY_SYSTEM_CALLS := uninitvar legacyUninitvar ctuuninitvar
FRAMES ?= 1000000
TESTS ?= tests
PYTHON_TESTS := $(patsubst %,tests/test_%.py,protocol protocol_document session operations server cli)

.PHONY: all compile help demo test test-arch testinstalled check fuzz asan bench bench-full bench-supervisor bench-scale soak \
	coverage clean
all: compile

help:
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile

$(READY): pyproject.toml tools/prepare.sh tools/apt.sh
	@tools/prepare.sh $(PYTHON) $(VENV)
	@touch $@

$(BUILT): $(READY) $(SOURCES)
	@$(RUN)/python setup.py -q build_ext --inplace
	@mkdir -p $(@D) && touch $@

$(TEST_PROGRAMS): tests/apt-packages.txt
	@tools/apt.sh -f $< || echo "remotec: some tests will be skipped"
	@mkdir -p $(@D) && touch $@

$(PEERS): bench/apt-packages.txt
	@tools/apt.sh -f $< || echo "remotec: some peers will be missing"
	@$(RUN)/python -c 'import matplotlib' 2>/dev/null || $(EDITABLE) '.[bench]' || echo "remotec: there will be no plots"
	@mkdir -p $(@D) && touch $@

compile: $(BUILT) ## build _fast, libremotec.so and remotec-run in place

demo: $(BUILT) ## a server on loopback and real programs on its files
	@$(RUN)/python tools/demo.py

test: $(BUILT) $(TEST_PROGRAMS) ## the test suite; TESTS='tests/test_cli.py -k name' for a part
	$(RUN)/python -m pytest -q $(TESTS)

test-arch: $(BUILT) ## 9 architectures against servers of 4, under qemu; ARCH='--clients mips --servers s390x' for a part
	@tools/apt.sh -f tests/arch/apt-packages.txt || echo "remotec: some architectures will be left out"
	$(RUN)/python -m tests.arch.suite $(if $(ARCH),$(ARCH),--write)

testinstalled: $(READY) ## sdist, wheel, a fresh venv: finds what the package forgets
	$(RUN)/python -m pytest -q tests/test_package.py

check: $(BUILT) ## ruff, mypy, stale generated files, C analysers where there
	@$(RUN)/python -c 'import ruff, mypy' 2>/dev/null || $(EDITABLE) '.[check]'
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/python tools/generate_protocol.py --check
	@if command -v shellcheck >/dev/null; then shellcheck tools/*.sh .ci/run; fi
	@if command -v cppcheck >/dev/null; then \
		cppcheck -q --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability \
			$(patsubst %,--suppress=%,$(FILLED_BY_SYSTEM_CALLS)) csrc; fi
	@if command -v clang-tidy >/dev/null; then \
		clang-tidy --quiet --warnings-as-errors='*' csrc/*.c -- -std=gnu11 -D_GNU_SOURCE -Icsrc -Wno-unknown-warning-option; fi

fuzz: $(BUILT) ## FRAMES mutated frames at each decoder: server (both modes), C reply parser under ASan; system calls
	PYTHONPATH=. $(RUN)/python tests/fuzz_frames.py --frames $(FRAMES)
	PYTHONPATH=. $(RUN)/python tests/fuzz_frames.py --frames $(FRAMES) --pure
	$(CC) $(SANITIZED) -o build/fuzz_reply tests/c/fuzz_reply.c $(CORE) -lpthread -ldl
	build/fuzz_reply $(FRAMES) < tests/vectors/messages.hex
	PYTHONPATH=. $(RUN)/python tests/fuzz_syscalls.py
	PYTHONPATH=. $(RUN)/python tests/fuzz_replies.py

asan: $(READY) ## the tests on an ASan and UBSan build, in a copy of the tree
	tools/asan.sh $(RUN) $(TESTS)

bench: $(BUILT) $(PEERS) ## remotec beside the yardstick and its peers, in some 12 minutes: docs/benchmarks.*; bench/README.md
	$(RUN)/python bench/bench_read.py --rounds 3 --megabytes 512
	$(RUN)/python bench/bench_peers.py --out docs

bench-full: $(BUILT) $(PEERS) ## the same with more of everything, about an hour
	$(RUN)/python bench/bench_read.py
	$(RUN)/python bench/bench_peers.py --full --rounds 5 --minutes 60 --out docs

bench-supervisor: $(BUILT) ## what the supervisor costs: calls, local work, starts; bench/README.md
	$(RUN)/python bench/bench_supervisor.py

bench-scale: $(BUILT) ## a read's latency beside thousands of idle clients, busy ones, slow ones, a stuck mount
	PYTHONPATH=. $(RUN)/python bench/bench_scale.py

soak: $(BUILT) ## 20,000 short processes; counts what leaks
	PYTHONPATH=. $(RUN)/python tests/soak.py

coverage: $(BUILT) ## line coverage of the Python side, of every process that the tests start
	@$(RUN)/python -c 'import coverage' 2>/dev/null || $(RUN)/pip install -q 'coverage>=7.10'
	$(RUN)/python -m coverage erase
	$(RUN)/python -m coverage run -m pytest -q $(PYTHON_TESTS)
	$(RUN)/python -m coverage combine -q
	$(RUN)/python -m coverage report -m

clean: ## what was built; not .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .cache/.test-programs .cache/.peers coverage
	rm -f remotec/*.so remotec/remotec-run remotec/_fast.c
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
