# `make help` says what there is. Every target works from a fresh clone: it makes .venv when
# there is none and installs the versions that constraints.txt names.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Byte code is kept in .venv; without it, every stage would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install repro test lint bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

# One marker for each set of extras, so that nobody installs what they do not use.
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-sample: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[sample]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[sample,test]'
	@touch $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[sample,bench]'
	@touch $@

install: $(VENV)/.installed-sample ## make .venv with everything the pipeline needs

repro: install ## set up and run the whole pipeline: texts to reports/report.html
	dvc repro
	@echo "Report: reports/report.html and reports/report.md"

lint: $(VENV)/.installed-test ## check style and types
	ruff format --check .
	ruff check .
	mypy

test: lint ## set up and run every check: ruff, mypy, pytest
	OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.installed-bench ## measure what benchmarks/RESULTS.md reports
	python -m benchmarks

clean: ## remove what was made, but keep .venv and DVC's cache
	rm -rf artifacts reports
