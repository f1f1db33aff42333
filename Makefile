# Everything runs in .venv, which the first target makes: Python 3.11 to 3.13 is all that has to be there.
#   make demo                  the whole path on generated sample data, to runs/demo/index.html
#   make sweep                 trainings with 100, 50 and 25 % of the images, to runs/sweep/index.html
#   make test [SLOW=1]         lint, unit tests, notebook tests; SLOW=1 adds the slow ones
#   make test ARGS="-k masks"  any options of pytest

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# PYTHON=... chooses another interpreter. The one called python3 comes first: it is the user's own choice.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(SUITABLE)' 2>/dev/null && { echo "$$p"; break; }; done)
UV ?= uv
COMPILE = $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --quiet
INSTALL_LOG := $(VENV)/install.log

.PHONY: help demo sweep test check lab bench open-model card wheel wheel-check lock clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(STAMP) data/sample/paxray.json ## the whole path on sample data: explore, train, evaluate, predict
	@$(BIN)/python -m paxray_lib run --profile notebooks/profiles/demo.yaml --out runs/demo --resume

sweep: $(STAMP) data/sample/paxray.json ## trainings with all, half and a quarter of the sample data, compared
	@$(BIN)/python -m paxray_lib sweep $(addprefix notebooks/profiles/sweep_,full.yaml half.yaml quarter.yaml) \
		--out runs/sweep --resume

test: check ## lint and types, then all tests (SLOW=1: the slow ones too)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow") $(ARGS)

check: $(STAMP) ## lint and types only
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && echo "ruff: no finding"
	@$(BIN)/mypy

lab: $(STAMP) ## the notebooks in JupyterLab
	@GOMP_SPINCOUNT=1000 $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

bench: $(STAMP) ## the benchmarks behind the README's figures (ARGS="masks predict": only these)
	@$(BIN)/python benchmarks/run.py $(ARGS)

open-model: $(STAMP) ## the open model from its sources: WINGSPAN=DIR V7=DIR, or WITHOUT="wingspan v7"
	@$(BIN)/python benchmarks/open_model/recipe.py $(addprefix --without ,$(WITHOUT)) \
		$(if $(WINGSPAN),--wingspan "$(WINGSPAN)") $(if $(V7),--v7 "$(V7)") $(if $(CT),--ct "$(CT)")

card: $(STAMP) ## the model card from measured files (SCORES=runs/score/scores.json: from new ones)
	@$(BIN)/python benchmarks/open_model/card.py $(if $(SCORES),--scores $(SCORES))

wheel: $(STAMP) ## the package as dist/*.whl, checked; nothing is uploaded
	@rm -rf build dist
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/twine check --strict dist/*.whl && $(BIN)/check-wheel-contents dist/*.whl && ls -l dist

wheel-check: wheel ## the wheel installed for real, from the core to [all], and used; takes minutes
	@$(BIN)/python .ci/wheel_check.py dist/*.whl

lock: ## requirements.lock and those of docker/ from pyproject.toml, keeping versions that fit (needs uv)
	@$(COMPILE) --extra all --extra test --output-file requirements.lock >/dev/null
	@$(COMPILE) --constraint requirements.lock --output-file docker/core.lock >/dev/null
	@$(COMPILE) --extra train --extra dicom --constraint requirements.lock --output-file docker/train.lock >/dev/null

clean: ## remove the environment; data/ and runs/ stay
	@rm -rf $(VENV) paxray_lib.egg-info

data/sample/paxray.json: | $(STAMP)
	@$(BIN)/python -m paxray_lib sample data/sample

# Not quiet but into a log: a failed installation shows its end, a good one two lines. The package itself is built by
# the setuptools that the lock pins, so that nothing comes in unpinned.
$(STAMP): requirements.lock pyproject.toml
	@"$(PYTHON)" -c '$(SUITABLE)' 2>/dev/null || { echo "PAXRay needs Python 3.11, 3.12 or 3.13 with its venv" \
		"module (on Debian: python3-venv), and found none; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV), about 7 GB with PyTorch; this takes some minutes (log: $(INSTALL_LOG))"
	@"$(PYTHON)" -m venv $(VENV)
	@{ $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .; \
		} >$(INSTALL_LOG) 2>&1 || { tail -n 20 $(INSTALL_LOG) >&2; exit 1; }
	@touch $@
	@echo "Installed."
