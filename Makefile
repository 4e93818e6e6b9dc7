# make run | make test: on a fresh Debian machine with python3 (3.11, venv), make and git these two suffice.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv
ARGS ?=

.PHONY: run test check unit integration journey slow installed upgrade manifests mutants simulate faults advisories outdated sbom bench \
  docs format lock wheel setup clean help

help: ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## /  make \1|/' | column -t -s '|'

run: .venv/.run ## set up and run the whole system (options: make run ARGS="--members 3")
	@exec $(BIN)/earlybird up $(ARGS)

test: check ## set up and pass every test, three files at a time, the long ones first
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/.dev ## format, lint, types, import contracts, unused dependencies
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > .venv/imports.log || { cat .venv/imports.log; exit 1; }
	@$(BIN)/deptry src --no-ansi 2> .venv/deptry.log || { cat .venv/deptry.log; exit 1; }
	@git ls-files -z -- . ':!tests' ':!*.lock' ':!docs/faults*' ':!src/earlybird/pages/words' | xargs -0 $(BIN)/detect-secrets-hook \
	  --exclude-lines 'user:password@|correct horse battery|the right password|"device-secret"|secretName: '

advisories: .venv/.audit ## ask the index for known vulnerabilities of what is locked
	@$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off

outdated: .venv/.run ## which locked packages are not the newest release
	@$(BIN)/python -m pip list --outdated --disable-pip-version-check

sbom: .venv/.audit ## write sbom.json, the bill of materials (CycloneDX) of what is locked
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
	  --output-file sbom.json

unit: .venv/.dev ## the tests that do no I/O
	@$(BIN)/python -m pytest tests/unit $(ARGS)

integration: .venv/.dev ## the tests on real MongoDB, NATS and Valkey
	@$(BIN)/python -m pytest tests/integration $(ARGS)

journey: .venv/.dev ## the tests through the whole stack, behind Envoy
	@$(BIN)/python -m pytest tests/journey $(ARGS)

slow: .venv/.dev ## the tests that `make test` leaves out, such as more faults and every border of the API (minutes)
	@$(BIN)/python -m pytest -m slow $(ARGS)

manifests: .venv/.dev .venv/.deploy ## what deploy/ holds, judged by the code and by the tools of those who read it
	@$(BIN)/python -m pytest tests/unit/test_deployment.py tests/integration/test_deploy_tools.py \
	  tests/integration/test_deployed.py -m 'slow or not slow' $(ARGS)

installed: .venv/.dev ## install the wheel into empty environments by pip, uvx and pipx, and use it (minutes)
	@PYTHONPATH=tests $(BIN)/python -m installed

upgrade: .venv/.dev ## from the version before to this one and back, process after process, under load (minutes)
	@PYTHONPATH=tests $(BIN)/python -m upgrade

mutants: .venv/.dev ## change the code that decides, one place at a time: does a test notice? (about 8 minutes)
	@PYTHONPATH=tests $(BIN)/python -m mutation $(ARGS)

simulate: .venv/.dev ## histories of the workers in virtual time, by the hundred thousand
	@PYTHONPATH=tests $(BIN)/python -m simulation $(ARGS)

faults: .venv/.dev .venv/.bench ## every fault on every target of a real cluster, for hours; writes docs/faults.md
	@PYTHONPATH=tests $(BIN)/python -m faults $(ARGS); code=$$?; $(BIN)/python bench/faults_chart.py; exit $$code

bench: .venv/.bench ## measure everything against its goals; writes docs/performance.md (a quarter of an hour)
	@$(BIN)/python bench/measure.py $(ARGS)

docs: .venv/.docs ## build the documentation site in site/, and check every link of it
	@$(BIN)/python docs/site/build.py $(ARGS)

format: .venv/.dev ## format the code, mend what can be mended
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet

wheel: .venv/.run ## build the package into dist/
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@echo "Built. To install it with the local servers: pip install '$$(echo dist/*.whl)[local]'"

setup: .venv/.dev ## install everything, run nothing

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: ## renew the lock files: make lock ARGS=--upgrade takes the newest (needs uv)
	$(LOCK) $(ARGS) pyproject.toml --extra local --group build --output-file requirements.lock
	$(LOCK) $(ARGS) pyproject.toml --constraints requirements.lock --output-file requirements-production.lock
	$(LOCK) $(ARGS) --group build --constraints requirements.lock --output-file requirements-build.lock
	$(LOCK) $(ARGS) pyproject.toml --extra local --group build --group dev --constraints requirements.lock \
	  --output-file requirements-dev.lock
	$(LOCK) $(ARGS) --group bench --constraints requirements-dev.lock --output-file requirements-bench.lock
	$(LOCK) $(ARGS) --group audit --constraints requirements-dev.lock --output-file requirements-audit.lock
	$(LOCK) $(ARGS) --group deploy --constraints requirements-dev.lock --output-file requirements-deploy.lock
	$(LOCK) $(ARGS) --group docs --constraints requirements-dev.lock --output-file requirements-docs.lock

clean: ## remove what make made (not your data)
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants site

.venv/bin/python:
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python3 with venv is needed: apt install python3-venv" >&2; exit 1; }

.venv/.run: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing the servers and libraries (about a minute, once)"
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@echo "Installing the test tools"
	@$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@

.venv/.audit: requirements-audit.lock .venv/.run
	@echo "Installing the tools of the supply chain"
	@$(PIP) --require-hashes --requirement requirements-audit.lock
	@touch $@

.venv/.deploy: requirements-deploy.lock .venv/.run
	@echo "Installing the tools that judge manifests"
	@$(PIP) --require-hashes --requirement requirements-deploy.lock
	@touch $@

.venv/.bench: requirements-bench.lock .venv/.run
	@echo "Installing the chart library and locust"
	@$(PIP) --require-hashes --requirement requirements-bench.lock
	@touch $@

.venv/.docs: requirements-docs.lock .venv/.run
	@echo "Installing the tools of the documentation site"
	@$(PIP) --require-hashes --requirement requirements-docs.lock
	@touch $@
