# Needs python3 (3.11 or newer, with venv), make, and for engine compose a Docker engine. Everything else is installed
# into .venv from requirements.lock by the first target that needs it; `.venv/bin/lab` is the command, from this checkout.

PYTHON ?= python3
VENV   := .venv
LAB    := $(VENV)/bin/python -m lab
# The stamp holds the lock's hash: the environment is made anew only when the lock has changed.
STAMP  := $(VENV)/.installed-$(shell cksum < requirements.lock | tr ' ' '-')
# As typed behind `make`; a variable of that name in somebody's environment means something else.
ON     := $(if $(findstring command line,$(origin ENGINE)),--engine $(ENGINE))

.DEFAULT_GOAL := help
.PHONY: help scenario list check plan doctor inspect report compare runs up down clean schema test test-live test-catalogue mutation agreement lint format bench lock servers

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed, got $$($(PYTHON) --version)"; echo "hint: make PYTHON=python3.13 ..."; exit 3; }
	@$(PYTHON) -c 'import venv, ensurepip' \
		|| { echo "error: python3 has no venv"; echo "hint: on Debian and Ubuntu: apt-get install python3-venv"; exit 3; }
	@echo "installing the environment into $(VENV), once" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@printf '#!%s\nimport sys\n\nsys.path.insert(0, "%s")\nfrom lab.__main__ import main\n\nmain()\n' \
		"$(CURDIR)/$(VENV)/bin/python" "$(CURDIR)" > $(VENV)/bin/lab && chmod +x $(VENV)/bin/lab
	@rm -f $(VENV)/.installed-* && touch $@

scenario: $(STAMP)  ## Run a scenario: make scenario NAME=epoll-10k [ENGINE=netns] [ARGS='--set fleet.connections=200']
	@test -n "$(NAME)" || { echo "error: which scenario? make scenario NAME=epoll-10k"; $(LAB) list; exit 2; }
	@$(LAB) run $(NAME) $(ON) $(ARGS)

list: $(STAMP)  ## List the scenarios and the I/O models
	@$(LAB) list

check: $(STAMP)  ## Check every scenario of the catalogue
	@$(LAB) check scenarios/*.yaml

plan: $(STAMP)  ## Show what a run would build here: make plan NAME=epoll-10k
	@$(LAB) plan $(NAME) $(ON) $(ARGS)

doctor: $(STAMP)  ## Tell what this machine can run, and the remedy for what it cannot
	@$(LAB) doctor

inspect: $(STAMP)  ## Look into a run's captures: make inspect RUN=epoll-10k [ARGS='--connection 1']
	@$(LAB) inspect $(RUN) $(ARGS)

report: $(STAMP)  ## Print a run's summary again: make report RUN=epoll-10k
	@$(LAB) report $(RUN) $(ARGS)

compare: $(STAMP)  ## Compare runs or the cells of a series: make compare RUNS='io-models'
	@test -n "$(RUNS)" || { echo "error: which runs? make compare RUNS='ID ID'"; exit 2; }
	@$(LAB) compare $(RUNS) $(ARGS)

runs: $(STAMP)  ## List the runs
	@$(LAB) runs

up: $(STAMP)  ## Bring a scenario's hosts up and leave them: make up NAME=epoll-10k
	@$(LAB) up $(NAME) $(ON) $(ARGS)

down: $(STAMP)  ## End a lab that is up
	@$(LAB) down $(ARGS)

clean: $(STAMP)  ## Remove what crashed runs left on this machine (by label; runs in progress are not touched)
	@$(LAB) clean $(ARGS)

schema: $(STAMP)  ## Write scenarios/scenario.schema.json anew from the types
	@$(LAB) schema > scenarios/scenario.schema.json

# One process more than processors: tests wait for other programs.
test: $(STAMP)  ## Run the tests that need neither Docker nor root
	@$(VENV)/bin/python -m pytest -m "not live" -n $$(($$(nproc) + 1)) $(ARGS)

test-live: $(STAMP)  ## Run the tests on a real Docker engine
	@$(VENV)/bin/python -m pytest -m live --timeout=600 $(ARGS)

test-catalogue: $(STAMP)  ## Run every scenario of the catalogue on both engines (long)
	@LAB_CATALOGUE=all $(VENV)/bin/python -m pytest -m live --timeout=600 tests/contract/test_catalogue.py $(ARGS)

mutation: $(STAMP)  ## Break each rule of the analysis in turn; a case of the corpus must notice (minutes)
	@$(VENV)/bin/python -m tests.analysis.mutations $(ARGS)

agreement: $(STAMP)  ## Compare the analysis with tshark on every capture of the corpus; explain each difference
	@$(VENV)/bin/python -m tests.analysis.test_agreement

lint: $(STAMP)  ## Check style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(STAMP)  ## Format the code
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

bench: $(STAMP)  ## Measure speed side by side with peers; prints one JSON line a benchmark
	@$(VENV)/bin/python -m benchmarks

servers: $(STAMP)  ## Install the libraries of the servers that show one (uvloop, gevent, trio, tornado, twisted, sanic)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-servers.lock

LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links

lock:  ## Resolve the dependencies anew: the environment's, the servers' and the images' (needs uv)
	@$(LOCK) --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	@$(LOCK) --universal --python-version 3.11 --extra servers -c requirements.lock pyproject.toml -o requirements-servers.lock
	@for image in capture servers; do \
		$(LOCK) --python-version 3.13 --python-platform linux images/$$image/requirements.in -o images/$$image/requirements.lock; done
