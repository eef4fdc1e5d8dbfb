# make demo and make test work on a bare machine with Python 3.11 or newer and nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help demo test test-long browser lint format pin clean

help:
	@echo "make demo    install if needed, then run the main job (autonat demo)"
	@echo "make test    install if needed, then every test, lint and type check"
	@echo "make test-long  the tests that are too long for every change"
	@echo "make browser install a browser for the tests of pages, where apt-get can (make test does it)"
	@echo "make lint    ruff and mypy only"
	@echo "make format  rewrite the code in the house style"
	@echo "make pin     write the installed versions into constraints.txt"
	@echo "make clean   remove caches and build outputs (.venv and autonat-lab stay)"

demo: $(INSTALLED)
	@$(BIN)/autonat demo

# Every test in under half an hour on two cores, but those marked as long: a fault that shorter tests
# meet too, or the same with other names.
#
# Two at a time, with a thread each: many tests wait for Ray to start, and threads of two processes
# would take the two cores from each other. A file's tests share what they set up. Their files lie in
# memory where it has room (MiB), because SQLite waits for a disk at every commit. Compiled modules are
# kept, whatever the environment says, because hundreds of processes import them.
ROOM := 4000
IN_MEMORY := $(shell test -w /dev/shm && test "$$(df -Pm /dev/shm | awk 'NR == 2 {print $$4}')" -ge $(ROOM) && \
	echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(IN_MEMORY) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
LINT := $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Lint and types are checked meanwhile, in the time that tests wait, and said after them.
test: $(INSTALLED) browser
	@said=$$(mktemp); { $(LINT); } >$$said 2>&1 & lint=$$!; trap "kill $$lint" INT; \
	$(PYTEST) -m "not long"; tests=$$?; \
	wait $$lint; lint=$$?; cat $$said; rm $$said; exit $$((tests | lint))

test-long: $(INSTALLED) browser
	$(PYTEST) -m long

# The tests of pages need a real browser, which is no Python package. They are skipped where it can
# be neither found nor installed within a few minutes.
BROWSER := chromium chromium-driver
APT := DEBIAN_FRONTEND=noninteractive timeout -k 10 180 apt-get -qq -o DPkg::Lock::Timeout=60
browser:
	@command -v chromium google-chrome >/dev/null && command -v chromedriver >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing $(BROWSER)" && \
		$(APT) update && $(APT) install -y --no-install-recommends $(BROWSER) >/dev/null; } || \
		echo "the tests of pages are skipped, because there is no browser: apt-get install -y $(BROWSER)" >&2

lint: $(INSTALLED)
	$(LINT)

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "autonat needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/it" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "installing the pinned versions into .venv (once; a few minutes)"
	@$(BIN)/python -m pip install -qq --no-compile -e '.[dev]' -c constraints.txt
	@# pip would compile on one core, the tests of packages as well. A few files are of newer Pythons.
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true
	@touch $@

# A local build (torch 2.13.0+cpu) is pinned by its release, so that every machine finds its own.
pin: $(INSTALLED)
	@sed -n '/^#/p' constraints.txt > constraints.new
	@$(BIN)/python -m pip freeze --exclude-editable --exclude autonat | sed 's/+.*//' >> constraints.new
	@mv constraints.new constraints.txt

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find search models trials dashboards tests -name __pycache__ -prune -exec rm -rf {} +
