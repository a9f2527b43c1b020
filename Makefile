# Everything happens inside this clone: environments in .venv, Airflow's homes in .airflow.
# PYTHON=… names a Python to try first; PYTEST_ARGS=… is handed to pytest.
.DEFAULT_GOAL := help
.PHONY: help demo ui bench test test-quick test-matrix test-system test-system-3.4 screenshots debian-packages lint coverage audit mutation \
	requirements clean FORCE
.DELETE_ON_ERROR:

# The lines of Airflow that make test runs on; those that make test-quick and CI run in part; those of make test-matrix.
LINES := 3.3 2.11
QUICK := 3.0 3.1 3.2 3.4
MATRIX := 2.11 3.0 3.1 3.2 3.3 3.4 lowest newest
# The oldest Python of each, 3.x, where it is not this project's own, and the newest.
FIRST_3.4 := 11
LAST_2.11 := 12
LAST_3.0 := 12
LAST_3.1 := 13
LAST_3.2 := 14
LAST_3.3 := 14
LAST_3.4 := 14
LAST_lowest := 12
LAST_newest := 14

# Nothing of the user's own Python set-up may leak in.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS
unexport VIRTUAL_ENV COVERAGE_FILE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s%s\n", $$1, $$2 }' Makefile

demo: .venv/3.3/ready ## Close purchases of a simulated Lucca tenant, and show the result for each
	@exec .venv/3.3/bin/python -m demo.demo

ui: .venv/3.3/ready ## Run a whole Airflow with the examples and a simulated Lucca tenant, to look around in
	@exec .venv/3.3/bin/python -m demo.ui

# --- environments ---------------------------------------------------------------------------------------------------

# An environment is named for its line, 3.1, or for its line and its Python, 3.1-py3.13.
line = $(firstword $(subst -py, ,$(1)))
comma := ,
first = $(or $(FIRST_$(line)),10)
fits = (3, $(first)) <= version <= (3, $(LAST_$(line)))$(if $(findstring -py,$(1)), and \
	version == ($(subst .,$(comma),$(lastword $(subst -py, ,$(1))))))

# They are run, since some (pyenv's) are there but do not work.
PYTHONS = $(PYTHON) python3 python3.12 python3.11 python3.10 python3.13 python3.14 python \
	$(wildcard $(shell pyenv root 2>/dev/null)/versions/*/bin/python)
is_python = "$$python" -c 'import sys, ensurepip, venv; version = sys.version_info[:2]; \
	$(2) if $(fits) else sys.exit(1)' 2>/dev/null

# Prints the first Python that fits an environment.
find_python = for python in $(PYTHONS); do $(call is_python,$(1),print(sys.executable)) && break; done
# Says by which versions the Pythons of this machine fit a line, the oldest first.
find_versions = $(shell for python in $(PYTHONS); do $(call is_python,$(1),print("%d.%d" % version)); done | sort -uV)

no_python = Airflow $(line) needs Python $(or $(word 2,$(subst -py, ,$(1))),3.$(first) to 3.$(LAST_$(line))) with its modules \
venv and ensurepip. None of these is that: $(PYTHON) python3, python3.10 to python3.14, python, nor any of pyenv's. \
Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python. On Debian and Ubuntu: apt install python3-venv.

# What has no pins is resolved anew each time.
.SECONDEXPANSION:
.venv/%/pins: $$(or $$(wildcard requirements/$$(call line,$$*).txt requirements/airflow-$$(call line,$$*).txt),FORCE)
	@python=$$($(call find_python,$*)); test -n "$$python" || { echo "$(call no_python,$*)" >&2; exit 1; }; \
	echo "Making .venv/$* with $$python; the first time this takes a minute or two."; \
	exec "$$python" -m venv --clear .venv/$*
	@exec .venv/$*/bin/python -m pip install -qq $(if $(filter FORCE,$<),-e '.[dev]',--no-deps -r $<)
	@touch $@

.venv/%/ready: .venv/%/pins setup.cfg
	@exec .venv/$*/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

.PRECIOUS: .venv/%/pins .venv/%/ready

requirements: ## Renew the pinned versions (needs uv)
	requirements/renew

bench: .venv/3.3/ready ## Measure speed and cost, and write docs/benchmarks.md (half an hour)
	.venv/3.3/bin/python -m benchmarks

# --- tests ----------------------------------------------------------------------------------------------------------

# Those of some lines that this machine has a Python for; EVERY_LINE=1 makes a missing one an error.
have_python = $(foreach line_,$(1),$(if $(shell $(call find_python,$(line_))),$(line_)))
# Worked out once, when used.
TESTED = $(eval TESTED := $(call have_python,$(LINES)))$(TESTED)
UNTESTED = $(filter-out $(TESTED),$(LINES))
TESTED_QUICK = $(eval TESTED_QUICK := $(call have_python,$(QUICK)))$(TESTED_QUICK)
UNTESTED_QUICK = $(filter-out $(TESTED_QUICK),$(QUICK))
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
error_if_untested = $(if $(EVERY_LINE),$(if $(1),$(error $(call no_python,$(firstword $(1))))))
say_untested = $(if $(1),echo "!!! NOT TESTED on Airflow $(1). $(call no_python,$(firstword $(1)))" >&2;)

test: ## Lint, and run the unit and integration tests on Airflow 3.3 and 2.11, as far as this machine has a Python for them
	$(call error_if_untested,$(UNTESTED))
	@$(MAKE) --no-print-directory --jobs=2 $(TESTED:%=.venv/%/ready)
	@rm -f .coverage .coverage.*
	@failed=; \
	$(MAKE) --no-print-directory lint || failed="$$failed lint"; \
	echo "Testing on Airflow $(TESTED) side by side; what they say comes when they are done."; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 $(SYNC) $(TESTED:%=test-%) || failed="$$failed tests"; \
	$(if $(UNTESTED),,$(MAKE) --no-print-directory coverage || failed="$$failed coverage";) \
	$(call say_untested,$(UNTESTED)) \
	test -z "$$failed" || { echo "make test: FAILED:$$failed" >&2; exit 1; }; \
	echo "make test: everything passed on Airflow $(TESTED)$(if $(UNTESTED), and NOTHING WAS TESTED on $(UNTESTED))."

# Imports, what Airflow learns about the provider, its form, and the example DAGs.
QUICK_TESTS := tests/unit/test_imports.py tests/integration/test_versions.py \
	tests/integration/test_providers_manager.py tests/integration/test_example_dags.py

test-quick: ## Test imports, the connection form and the example DAGs on the Airflow versions that make test leaves out
	$(call error_if_untested,$(UNTESTED_QUICK))
	@failed=; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 $(SYNC) $(TESTED_QUICK:%=test-%) \
		PYTEST_ARGS="--no-cov $(QUICK_TESTS)" || failed=1; \
	$(call say_untested,$(UNTESTED_QUICK)) \
	test -z "$$failed" || { echo "make test-quick: FAILED" >&2; exit 1; }

# Each line with the oldest and the newest Python that there is for it, the lowest versions with the oldest, the newest
# with the newest.
ends = $(sort $(if $(filter-out newest,$(1)),$(firstword $(2))) $(if $(filter-out lowest,$(1)),$(lastword $(2))))
RUNS = $(eval RUNS := $(foreach line_,$(MATRIX),$(addprefix $(line_)-py,$(call \
	ends,$(line_),$(call find_versions,$(line_))))))$(RUNS)
# Those that lack a Python: a line that is not tested with its own oldest and newest is not said to be.
NOT_RUN = $(filter-out $(RUNS),$(foreach line_,$(MATRIX),$(addprefix $(line_)-py,$(call \
	ends,$(line_),3.$(or $(FIRST_$(line_)),10) 3.$(LAST_$(line_))))))

test-matrix: ## Run these tests on each Airflow version with its oldest and newest Python, and on the lowest and newest packages
	$(call error_if_untested,$(NOT_RUN))
	@mkdir -p .airflow; rm -f .airflow/*.xml
	@failed=; \
	echo "Testing $(RUNS), two at a time; what they say comes when they are done."; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 $(SYNC) $(RUNS:%=test-%) PYTEST_ARGS="--no-cov $(PYTEST_ARGS)" \
		|| failed=1; \
	"$$($(call find_python,newest))" tests/matrix.py $(RUNS) || failed=1; \
	$(call say_untested,$(NOT_RUN)) \
	test -z "$$failed" || { echo "make test-matrix: FAILED" >&2; exit 1; }

lint: .venv/3.3/ready ## Check style and types
	@failed=0; set -x; \
	.venv/3.3/bin/python -m ruff check . || failed=1; \
	.venv/3.3/bin/python -m ruff format --check . || failed=1; \
	.venv/3.3/bin/python -m mypy || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

# Much of a run is waiting for processes and windows, so each line has two workers. A file's tests share what one sets up.
test-%: .venv/%/ready FORCE
	@mkdir -p .airflow
	COVERAGE_FILE=.coverage.$* .venv/$*/bin/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder \
		--basetemp=.airflow/tests-$* \
		--junitxml=.airflow/$*.xml --cov --cov-report= $(PYTEST_ARGS)

SEEDS := 0-19999
simulate: .venv/3.3/ready ## Simulate many tasks on one tenant, from seeds, and check the guarantees in each run (SEEDS=0-999, or one of them)
	.venv/3.3/bin/python -m pytest tests/simulation -q
	.venv/3.3/bin/python -m tests.simulation $(SEEDS)

test-system: .venv/3.3/ready ## Run the system tests: whole Airflows on this machine, which close purchases
	@exec .venv/3.3/bin/python -m pytest tests/system $(PYTEST_ARGS)

# What Airflow 3.4 does in another way than 3.3.
test-system-3.4: .venv/3.4/ready
	@exec .venv/3.4/bin/python -m pytest tests/system/test_task_state_store.py tests/system/test_loops.py $(PYTEST_ARGS)

# Whatever the docs show is taken by the tests of the same name.
screenshots: .venv/3.3/ready ## Take the screenshots in docs/images again (needs Chromium)
	CI=true .venv/3.3/bin/python -m pytest tests/system/test_browser.py
	cd docs/images && for picture in *.png; do cp "../../.airflow/screenshots/$$picture" . || exit 1; done

debian-packages: ## Install the Debian packages that some system tests need, if they are missing (as root)
	@requirements/debian

# What only one line can run counts for both.
coverage: .venv/3.3/ready
	.venv/3.3/bin/python -m coverage combine --quiet
	.venv/3.3/bin/python -m coverage report --fail-under=100

# --- quality, not part of `make test` ---------------------------------------------------------------------------------

.venv/3.3/quality: .venv/3.3/ready requirements/quality.txt
	@exec .venv/3.3/bin/python -m pip install -qq --no-deps -r requirements/quality.txt
	@touch $@

# Strict: a package that no service knows anything about is an error, not a package without vulnerabilities.
audit: .venv/3.3/quality ## Search the code and the pinned packages for known vulnerabilities
	@failed=0; set -x; \
	.venv/3.3/bin/python -m bandit --quiet --configfile pyproject.toml --recursive lucca_provider || failed=1; \
	for pins in requirements/airflow-*.txt requirements/quality.txt; do \
		.venv/3.3/bin/python -m pip_audit --strict --progress-spinner=off --no-deps --disable-pip \
			--requirement "$$pins" || failed=1; \
	done; \
	{ set +x; } 2>/dev/null; exit $$failed

mutation: .venv/3.3/quality ## Mutation testing: the share of thousands of code changes that the tests notice (an hour)
	.venv/3.3/bin/python -m mutmut run --max-children 2 $(if $(MUTANTS),'$(MUTANTS)')
	.venv/3.3/bin/python -m tests.mutation

clean: ## Remove everything that these commands made
	rm -rf .venv .airflow mutants build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
