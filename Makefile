# Everything happens inside this clone: environments in .venv, Airflow's homes in .airflow.
# PYTHON=… names a Python to try first; PYTEST_ARGS=… is handed to pytest.
.DEFAULT_GOAL := help
.PHONY: help demo ui bench test coverage test-quick test-matrix simulate test-system test-system-shared test-system-own \
	test-system-3.4 screenshots debian-packages lint audit mutation requirements dist docs clean FORCE
.DELETE_ON_ERROR:

# Nothing of the user's own Python set-up may leak in.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV COVERAGE_FILE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "make %-17s%s\n", $$1, $$2 }' Makefile

demo: .venv/3-3/ready ## Close purchases of a simulated Lucca tenant, and show the result for each
	@exec .venv/3-3/bin/python -m demo.demo

ui: .venv/3-3/ready ## Run a whole Airflow with the examples and a simulated Lucca tenant, to look around in
	@exec .venv/3-3/bin/python -m demo.ui

# --- environments ---------------------------------------------------------------------------------------------------

# noxfile.py names the lines of Airflow and their Pythons, makes their environments and runs tests in them. nox itself, and
# other tools that need no Airflow, have an environment each, of the first Python that works: some (pyenv's) are there but do not.
PYTHONS = $(PYTHON) python3 python3.12 python3.11 python3.10 python3.13 python3.14 python
.venv/nox/ready .venv/release/ready .venv/docs/ready: .venv/%/ready: requirements/%.txt $(if $(PYTHON),FORCE)
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
			&& exec "$$python" -m venv --clear .venv/$*; \
	done; \
	echo "Python 3.10 or newer is needed, with its modules venv and ensurepip. None of these is that: $(PYTHONS). Install" \
		"one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python. On Debian and Ubuntu: apt install python3-venv." >&2; \
	exit 1
	@exec .venv/$*/bin/python -m pip install -qq --no-deps -r $<
	@touch $@

# EVERY_LINE=1 makes a line without a Python an error.
NOX = .venv/nox/bin/nox --$(if $(EVERY_LINE),,no-)error-on-missing-interpreters

.venv/3-3/ready: .venv/nox/ready requirements/airflow-3.3.txt setup.cfg
	@echo "Making .venv/3-3; the first time this takes a minute or two."
	@exec .venv/nox/bin/nox --session 3.3 --install-only
	@touch $@

requirements: ## Renew the pinned versions (needs uv)
	requirements/renew

bench: .venv/3-3/ready ## Measure speed and cost, and write docs/benchmarks.md (half an hour)
	.venv/3-3/bin/python -m benchmarks

# --- tests ----------------------------------------------------------------------------------------------------------

test: .venv/3-3/ready ## Lint, and run the unit and integration tests on Airflow 3.3 and 2.11, as far as this machine has a Python for them
coverage: .venv/3-3/ready ## Do the same, and find what the tests do not reach; takes half as long again
coverage: export MEASURE := 1
test coverage:
	@rm -f .coverage .coverage.*
	@mkdir -p .airflow
	@failed=; \
	$(MAKE) --no-print-directory lint > .airflow/lint.log 2>&1 & lint=$$!; \
	echo "Linting, and testing on two lines side by side; what they say comes when they are done."; \
	$(NOX) --parallel 2 --tags test -- $(PYTEST_ARGS) || failed=" tests"; \
	wait $$lint || failed=" lint$$failed"; \
	cat .airflow/lint.log; \
	test -z "$$MEASURE" || $(NOX) --session coverage || failed="$$failed coverage"; \
	test -z "$$failed" || { echo "make $@: FAILED:$$failed" >&2; exit 1; }; \
	echo "make $@: everything passed that was run."

# Imports, what Airflow learns about the provider, its form, and the example DAGs.
QUICK_TESTS := tests/unit/test_imports.py tests/integration/test_versions.py \
	tests/integration/test_providers_manager.py tests/integration/test_example_dags.py

test-quick: .venv/nox/ready ## Test imports, the connection form and the example DAGs on the Airflow versions that make test leaves out
	@$(NOX) --parallel 2 --tags quick -- -m 'not own_code and not other_course' $(QUICK_TESTS)

test-matrix: .venv/nox/ready ## Run these tests on each Airflow version with its oldest and newest Python, and on the lowest and newest packages
	@$(NOX) --parallel 2 --tags matrix -- $(PYTEST_ARGS)

lint: .venv/3-3/ready ## Check style and types
	@failed=0; set -x; \
	.venv/3-3/bin/python -m ruff check . || failed=1; \
	.venv/3-3/bin/python -m ruff format --check . || failed=1; \
	.venv/3-3/bin/python -m mypy || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

test-%: .venv/nox/ready FORCE
	@$(NOX) --session $* -- $(PYTEST_ARGS)

SEEDS := 0-19999
simulate: .venv/3-3/ready ## Simulate many tasks on one tenant, from seeds, and check the guarantees in each run (SEEDS=0-999, or one of them)
	.venv/3-3/bin/python -m pytest tests/simulation -q
	.venv/3-3/bin/python -m tests.simulation $(SEEDS)

SYSTEM_TESTS = .venv/3-3/bin/python -m pytest tests/system
test-system: .venv/3-3/ready ## Run the system tests: whole Airflows on this machine, which close purchases
ifdef PYTEST_ARGS
	@exec $(SYSTEM_TESTS) $(PYTEST_ARGS)
else
	@$(MAKE) --no-print-directory --jobs=2 --keep-going $(addprefix --,$(filter output-sync,$(.FEATURES))) \
		test-system-shared test-system-own
endif

# Two parts that take about as long. What each says comes when it is done, where make is new enough for that.
test-system-shared:
	@exec $(SYSTEM_TESTS) -m 'not own_airflow'
test-system-own:
	@exec $(SYSTEM_TESTS) -m own_airflow

test-system-3.4: .venv/nox/ready ## Run the system tests of what Airflow 3.4 does differently from 3.3
	@.venv/nox/bin/nox --session 3.4 --install-only
	@exec .venv/3-4/bin/python -m pytest tests/system/test_task_state_store.py tests/system/test_loops.py $(PYTEST_ARGS)

# Whatever the docs show is taken by the tests of the same name.
screenshots: .venv/3-3/ready ## Take the screenshots in docs/images again (needs Chromium)
	CI=true .venv/3-3/bin/python -m pytest tests/system/test_browser.py
	cd docs/images && for picture in *.png; do cp "../../.airflow/screenshots/$$picture" . || exit 1; done

debian-packages: ## Install the Debian packages that some system tests need, if they are missing (as root)
	@requirements/debian

# --- quality, not part of `make test` ---------------------------------------------------------------------------------

.venv/3-3/quality: .venv/3-3/ready requirements/quality.txt
	@exec .venv/3-3/bin/python -m pip install -qq --no-deps -r requirements/quality.txt
	@touch $@

# Strict: a package that no service knows anything about is an error, not a package without vulnerabilities.
audit: .venv/3-3/quality ## Search the code and the pinned packages for known vulnerabilities
	@failed=0; set -x; \
	.venv/3-3/bin/python -m bandit --quiet --configfile pyproject.toml --recursive lucca_provider || failed=1; \
	for pins in requirements/airflow-*.txt requirements/quality.txt; do \
		.venv/3-3/bin/python -m pip_audit --strict --progress-spinner=off --no-deps --disable-pip \
			--requirement "$$pins" || failed=1; \
	done; \
	{ set +x; } 2>/dev/null; exit $$failed

mutation: .venv/3-3/quality ## Mutation testing: the share of thousands of code changes that the tests notice (hours)
	.venv/3-3/bin/python -m mutmut run --max-children 2 $(if $(MUTANTS),'$(MUTANTS)')
	.venv/3-3/bin/python -m tests.mutation

dist: .venv/release/ready ## Build wheel, sdist, bill of materials and digests of what is committed into dist/, the same bytes each time
	@exec .venv/release/bin/python -m tools.dist

docs: .venv/docs/ready ## Build the documentation as a site into site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 exec .venv/docs/bin/python -m mkdocs build --strict

clean: ## Remove everything that these commands made
	rm -rf .venv .airflow mutants build dist site *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
