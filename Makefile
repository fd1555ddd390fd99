# LandmarkGAN. `make` alone lists the targets; everything lives in a virtual environment beside this file.

PYTHON ?= python3
# ONNXRUNTIME=gpu takes onnxruntime-gpu, in an environment of its own: the two wheels overwrite each other's files.
ONNXRUNTIME ?= cpu
VENV := .venv$(if $(filter gpu,$(ONNXRUNTIME)),-gpu)
RUN := $(VENV)/bin/python
comma := ,
# HASHES=no installs by version alone, where pip's index has builds of its own: PyTorch's for another GPU, a mirror's.
HASHES ?= yes
# The pages need no Node.js to be served; where it is there, their types are checked.
ifneq ($(shell command -v npm 2>/dev/null),)
NODE_MODULES := node_modules/.installed
TYPE_CHECK_PAGES := node_modules/.bin/tsc --noEmit
else
NODE_MODULES :=
TYPE_CHECK_PAGES := echo "There is no Node.js (npm) here: the types of service/web are not checked." >&2
endif

.DEFAULT_GOAL := help
.PHONY: help serve serve-ray test lint data train train-ray train-many train-detector evaluate figures study c2pa-test-cert bench screenshots images release lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# Whoever names no target gets this one, where it is served and nobody has said otherwise.
ifneq ($(wildcard models/franck/bundle.json),)
ifndef LANDMARKGAN_MODELS_DIR
serve serve-ray: export LANDMARKGAN_DEFAULT_TARGET ?= franck
endif
endif

serve: $(VENV)/.has-service ## Start the HTTP service [PORT=8000] [WORKERS=2|auto] [ARGS="--host 0.0.0.0"] [ONNXRUNTIME=gpu]
	@$(RUN) -m service $(if $(PORT),--port '$(PORT)') $(if $(WORKERS),--workers '$(WORKERS)') $(ARGS)

serve-ray: $(VENV)/.has-service+scale ## The same under Ray Serve [REPLICAS=2 | 1-8] [MODELS=folder | s3://…] [PORT=8000] [ARGS=…]
	@$(RUN) -m service.cluster $(if $(REPLICAS),--replicas '$(REPLICAS)') $(if $(MODELS),--models '$(MODELS)') \
		$(if $(PORT),--port '$(PORT)') $(ARGS)

test: lint ## Check style and types, then run every test [ARGS=…]
	@$(RUN) -m pytest $(ARGS)

lint: $(VENV)/.has-service+trainer+fan+otel+c2pa+scale+dev $(NODE_MODULES) ## Check style and types alone
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(TYPE_CHECK_PAGES)

data: $(VENV)/.has-trainer ## Fetch the sample media, prepare the datasets franck and cap [ARGS=…]
	@$(RUN) -m trainer data $(ARGS)

train: $(VENV)/.has-trainer ## Train a target: TARGET=name [VIDEO=… | PHOTOS=dir | CELEBV=dir] [QUICK=1] [PROCS=2] [ARGS=…]
	@$(RUN) $(if $(PROCS),-m torch.distributed.run --standalone --nproc-per-node='$(PROCS)') -m trainer train \
		$(if $(TARGET),--target '$(TARGET)') $(if $(VIDEO),--video $(VIDEO)) \
		$(if $(PHOTOS),--photos '$(PHOTOS)') $(if $(CELEBV),--celebv '$(CELEBV)') $(if $(QUICK),--quick) $(ARGS)

train-ray: $(VENV)/.has-trainer+scale ## The same with WORKERS=2 under Ray Train: TARGET=name [VIDEO=… | PHOTOS=dir | STORE=s3://…] [QUICK=1] [ARGS=…]
	@$(RUN) -m trainer train-ray $(if $(WORKERS),--workers '$(WORKERS)') $(if $(STORE),--store '$(STORE)') \
		$(if $(TARGET),--target '$(TARGET)') $(if $(VIDEO),--video $(VIDEO)) \
		$(if $(PHOTOS),--photos '$(PHOTOS)') $(if $(CELEBV),--celebv '$(CELEBV)') $(if $(QUICK),--quick) $(ARGS)

train-many: $(VENV)/.has-trainer+scale ## Train the targets of a list, WORKERS at once: MANIFEST=targets.csv [WORKERS=2] [QUICK=1] [ARGS=…]
	@$(RUN) -m trainer train-many $(if $(WORKERS),--workers '$(WORKERS)') $(if $(QUICK),--quick) $(ARGS) '$(MANIFEST)'

train-detector: $(VENV)/.has-trainer ## Train the detector hourglass [WFLW=dir | DATASETS="franck cap"] [DEVICE=cuda] [ARGS=…]
	@$(RUN) -m trainer train-detector $(if $(WFLW),--wflw '$(WFLW)') $(if $(DATASETS),--datasets $(DATASETS)) \
		$(if $(DEVICE),--device '$(DEVICE)') $(ARGS)

evaluate: $(VENV)/.has-service+trainer+evaluate ## Measure the bundles on held-out frames [ARGS="--record"], or on CLIPS=folder
	@$(RUN) -m trainer evaluate $(if $(CLIPS),--clips '$(CLIPS)') $(ARGS)

figures: $(VENV)/.has-trainer ## Draw the pictures of README and docs from the bundles [ARGS=…]
	@$(RUN) -m trainer figures $(ARGS)

study: $(VENV)/.has-trainer+evaluate ## Ablations: whole trainings, one thing changed in each [TARGET=franck] [ARGS="--rows …"]
	@$(RUN) -m trainer study $(if $(TARGET),--target '$(TARGET)') $(ARGS)

c2pa-test-cert: $(VENV)/.has-service+c2pa ## Make a key and a certificate of nobody, to try C2PA credentials: runs/c2pa
	@$(RUN) -m service.provenance.trial_certificate runs/c2pa

bench: $(VENV)/.has-service+trainer+fan+c2pa+dev ## Time landmarks, generator and endpoints beside the release before [BEFORE=revision] [ARGS=…]
	@$(RUN) -m benchmarks $(if $(BEFORE),--before '$(BEFORE)') $(ARGS)

screenshots: $(VENV)/.has-service+trainer+dev ## Take the README's pictures of the pages; needs a Chromium [ARGS=editor]
	@$(RUN) -m docs.screenshots $(ARGS)

images: ## Build the images of service and trainer, with Docker, Podman or no engine [ONNXRUNTIME=gpu] [BASE=image]
	@ONNXRUNTIME='$(ONNXRUNTIME)' BASE='$(BASE)' docker/images.sh

release: $(VENV)/.has-service ## Wheel, images, SBOMs and the hashes of all, in dist/ [KEY=ssh-key] [IMAGES=no] [ONNXRUNTIME=gpu]
	@ONNXRUNTIME='$(ONNXRUNTIME)' BASE='$(BASE)' KEY='$(abspath $(KEY))' IMAGES='$(IMAGES)' docker/release.sh $(abspath $(RUN))

lock: $(VENV)/.has-lock ## Write requirements/, the hashes of all that is installed, from pyproject.toml and constraints.txt
	@$(RUN) requirements/lock.py

clean: ## Remove the environments and caches; data/, runs/ and models/ stay
	@rm -rf .venv .venv-gpu node_modules .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each set of extras, newer than the two files that decide what is installed: a second run installs nothing.
# pip then finds all there; it adds the checkout, and CUDA's libraries where torch is a build that wants them.
$(VENV)/.has-%: pyproject.toml constraints.txt $(wildcard requirements/*) | $(VENV)/.made
	@echo "Installing $(ONNXRUNTIME) $(subst +, ,$*) into $(VENV), once ..."
	@$(if $(filter no,$(HASHES)),,requirements/install.sh $(abspath $(RUN)) build $(ONNXRUNTIME) $(subst +, ,$*))
	@$(RUN) -m pip install -q --disable-pip-version-check $(if $(filter no,$(HASHES)),,--no-build-isolation) -c constraints.txt -e '.[$(ONNXRUNTIME),$(subst +,$(comma),$*)]'
	@touch $@

node_modules/.installed: package.json package-lock.json
	@echo "Installing TypeScript into node_modules, once ..."
	@npm ci --silent --no-audit --no-fund
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "LandmarkGAN needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
