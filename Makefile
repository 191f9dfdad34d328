# make demo    sets up, makes melons, trains, grades, and starts the app with demo logins
# make test    sets up, and runs every check (PROCESSES=4 on more cores)
# make setup   sets up for development

PYTHON ?= python3
PROCESSES ?= 3
VENV := .venv
BIN := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: demo test setup docs constraints clean

demo: $(VENV)/demo.stamp
	$(BIN)/mezoroi demo -o demo/
	$(BIN)/mezoroi serve demo/run --data demo/app-data --demo-logins --training demo/melons

test: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(PROCESSES) --dist loadfile

setup: $(VENV)/dev.stamp

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/generate.py

constraints: $(VENV)/dev.stamp
	$(BIN)/python docs/constraints.py > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "error: $(PYTHON) is missing or older than 3.10: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt tools/vendor.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python tools/vendor.py
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt tools/vendor.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python tools/vendor.py
	touch $@ $(VENV)/demo.stamp
