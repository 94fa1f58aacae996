# `make study` and `make test` do all of their own set-up, in .venv.
PYTHON ?= python3
PROFILE ?= quick
BIN := .venv/bin

.PHONY: study test notebooks shipped clean

study: .venv/ready
	$(BIN)/python run_all.py --params params/$(PROFILE).yml

test: .venv/ready
	$(BIN)/python -m pytest

notebooks: .venv/ready   # bring each .py and its .ipynb in step
	$(BIN)/jupytext --sync notebooks/*.py

shipped: .venv/ready     # data/quick: what takes minutes to make and notebooks opened alone read; from a clean commit
	for step in generate_polycrystals simulate_cp_dataset generate_textured_polycrystals simulate_campaign; do \
		$(BIN)/python -m microprint $$step --params params/quick.yml --run runs/shipped || exit 1; done
	mkdir -p data/quick && cd runs/shipped/artifacts && cp cp.h5 textured.h5 campaign.h5 ../../../data/quick

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	$(BIN)/python -m microprint fetch-vgg19
	touch $@

clean:
	rm -rf .venv runs
