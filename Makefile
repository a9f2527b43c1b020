# Everything happens inside this clone: environments in .venv, Airflow's homes in .airflow.
# PYTHON=… names a Python to try first; PYTEST_ARGS=… is handed to pytest.
.DEFAULT_GOAL := help
.PHONY: help demo ui bench test test-system screenshots debian-packages lint coverage requirements clean FORCE
.DELETE_ON_ERROR:

LINES := 3.3 2.11
LIMITS_3.3 := (3, 10) <= version < (3, 15)
LIMITS_2.11 := (3, 10) <= version < (3, 13)
PYTHONS_3.3 := Python 3.10 to 3.14
PYTHONS_2.11 := Python 3.10 to 3.12

# Nothing of the user's own Python set-up may leak in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV COVERAGE_FILE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s%s\n", $$1, $$2 }' Makefile

demo: .venv/3.3/ready ## Close purchases of a Lucca tenant that runs on this machine, and show what became of them
	@exec .venv/3.3/bin/python -m demo.demo

ui: .venv/3.3/ready ## Run a whole Airflow with the examples, and a Lucca tenant beside it, for looking around
	@exec .venv/3.3/bin/python -m demo.ui

# --- environments ---------------------------------------------------------------------------------------------------

# Prints the first Python that fits an Airflow line. They are run, since some (pyenv's) are there but do not work.
find_python = for python in $(PYTHON) python3 python3.12 python3.11 python3.10 python3.13 python3.14 python; do \
	"$$python" -c 'import sys, ensurepip, venv; version = sys.version_info[:2]; sys.exit(not $(LIMITS_$(1)))' \
		2>/dev/null && echo "$$python" && break; \
	done

no_python = Airflow $(1) needs $(PYTHONS_$(1)) with its modules venv and ensurepip. None of these is that: \
$(PYTHON) python3, python3.10 to python3.14, python. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python. \
On Debian and Ubuntu: apt install python3-venv.

.venv/%/pins: requirements/airflow-%.txt
	@python=$$($(call find_python,$*)); test -n "$$python" || { echo "$(call no_python,$*)" >&2; exit 1; }; \
	echo "Making .venv/$* with $$python; the first time this takes a minute or two."; \
	exec "$$python" -m venv --clear .venv/$*
	@exec .venv/$*/bin/python -m pip install -qq --no-deps -r $<
	@touch $@

.venv/%/ready: .venv/%/pins setup.cfg
	@exec .venv/$*/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

.PRECIOUS: .venv/%/pins .venv/%/ready

requirements: ## Renew the pinned versions (needs uv)
	requirements/renew

bench: .venv/3.3/ready ## Measure what the README claims about speed, and write docs/benchmarks.md (half an hour)
	.venv/3.3/bin/python -m benchmarks

# --- tests ----------------------------------------------------------------------------------------------------------

# The lines that this machine has a Python for; EVERY_LINE=1 makes a missing one an error. Worked out once, when used.
TESTED = $(eval TESTED := $(foreach line,$(LINES),$(if $(shell $(call find_python,$(line))),$(line))))$(TESTED)
UNTESTED = $(filter-out $(TESTED),$(LINES))
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: ## Lint, and run every test on each Airflow line that this machine has a Python for
	$(if $(EVERY_LINE),$(if $(UNTESTED),$(error $(call no_python,$(firstword $(UNTESTED))))))
	@$(MAKE) --no-print-directory --jobs=2 $(TESTED:%=.venv/%/ready)
	@rm -f .coverage .coverage.*
	@failed=; \
	$(MAKE) --no-print-directory lint || failed="$$failed lint"; \
	echo "Testing on Airflow $(TESTED) side by side; what they say comes when they are done."; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 $(SYNC) $(TESTED:%=test-%) || failed="$$failed tests"; \
	$(if $(UNTESTED),,$(MAKE) --no-print-directory coverage || failed="$$failed coverage";) \
	$(if $(UNTESTED),echo "!!! NOT TESTED on Airflow $(UNTESTED). $(call no_python,$(firstword $(UNTESTED)))" >&2;) \
	test -z "$$failed" || { echo "make test: FAILED:$$failed" >&2; exit 1; }; \
	echo "make test: everything passed on Airflow $(TESTED)$(if $(UNTESTED), and NOTHING WAS TESTED on $(UNTESTED))."

lint: .venv/3.3/ready ## Check style and types
	@failed=0; set -x; \
	.venv/3.3/bin/python -m ruff check . || failed=1; \
	.venv/3.3/bin/python -m ruff format --check . || failed=1; \
	.venv/3.3/bin/python -m mypy || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

test-%: .venv/%/ready FORCE
	@mkdir -p .airflow
	COVERAGE_FILE=.coverage.$* .venv/$*/bin/python -m pytest --basetemp=.airflow/tests-$* \
		--cov --cov-report= $(PYTEST_ARGS)

test-system: .venv/3.3/ready ## Run the system tests: whole Airflows on this machine, which close purchases
	@exec .venv/3.3/bin/python -m pytest tests/system $(PYTEST_ARGS)

# Whatever the docs show is taken by the tests of the same name.
screenshots: .venv/3.3/ready ## Take the pictures in docs/images anew (needs Chromium)
	CI=true .venv/3.3/bin/python -m pytest tests/system/test_browser.py
	cd docs/images && for picture in *.png; do cp "../../.airflow/screenshots/$$picture" . || exit 1; done

debian-packages: ## Install the Debian packages that some system tests need, where they are missing (as root)
	@requirements/debian

# What only one line can run counts for both.
coverage: .venv/3.3/ready
	.venv/3.3/bin/python -m coverage combine --quiet
	.venv/3.3/bin/python -m coverage report --fail-under=100

clean: ## Remove whatever was made
	rm -rf .venv .airflow build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
