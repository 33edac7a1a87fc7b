# Two commands do everything on a machine that has Python 3.11 or newer and make:
#   make demo   336,776 real flights, clustered and classified beside scikit-learn
#   make test   ruff, mypy and pytest
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# For the tests of functions in jails and of container images; without these they are skipped, and say why.
TOOLS := bubblewrap buildah umoci mmdebstrap qemu-user-static

.PHONY: demo test lint format tools clean

demo: $(READY)
	$(BIN)/biglambda demo

test: lint
	$(BIN)/python -m pytest

# mypy does not follow an editable install whose folders are mapped: it checks an installed copy.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(VENV)/typed build
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target $(VENV)/typed .
	rm -rf build
	cd $(VENV) && MYPYPATH=typed bin/mypy --config-file ../pyproject.toml -p biglambda

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "biglambda needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" wheel
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

# Never fails: not every machine is a Debian, nor every user root.
tools:
	@dpkg -s $(TOOLS) >/dev/null 2>&1 || { \
	    test "$$(id -u)" = 0 && as= || as="sudo -n"; \
	    DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; \
	    $$as apt-get -qq update && $$as apt-get -qq install --no-install-recommends $(TOOLS) >/dev/null; \
	} || echo "not installed: some of $(TOOLS); the tests that need them are skipped"

clean:
	rm -rf $(VENV) build *.egg-info demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
