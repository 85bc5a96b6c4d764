# `make` by itself tells what there is. Both `make demo` and `make test` install what is missing the
# first time, and need no network after that.

# The programs that are needed, and the Debian packages that bring them.
PROGRAMS = munged=munge mariadbd=mariadb-server slurmdbd=slurmdbd slurmctld=slurmctld \
	slurmd=slurmd sbatch=slurm-client curl=curl

# What only tests need.
FOR_TESTS = systemd-analyze=systemd ip=iproute2 nginx=nginx-light promtool=prometheus chromium=chromium \
	sudo=sudo /usr/lib/*/slurm-wlm/auth_jwt.so=slurm-wlm-jwt-plugin \
	dh=debhelper mmdebstrap=mmdebstrap

# A Python of at least 3.11; left out, the first one that is found.
PYTHON ?=
export PYTHON

# What `make chaos`, `make soak` and `make fuzz` do; without a seed chaos draws one, and prints it.
MINUTES ?= 10
SEED ?=
CLAIMS ?= both
JOBS ?= 1000000
EXAMPLES ?= 500

BIN = .venv/bin
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL = help
.PHONY: help demo demo-down test test-versions lint docs dist deb bench soak chaos fuzz clean ready ready-dev ready-bench \
	slurm-22.05 slurm-24.11 slurm-26.05

help: ## This list
	@echo "slurmbatch, a REST bridge to Slurm. What make can do:"
	@sed -n 's/^\([a-z0-9.-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-22s%s\n", $$1, $$2}'

demo: ready ## Run 100 jobs on a private, real Slurm, and leave it up to go on
	@.ci/demo up

demo-down: ## End the demo and remove all of it
	@.ci/demo down

test: lint ## Lint, types, layering, and all tests
	@$(BIN)/python .ci/test

test-versions: ready-dev ## All tests that need a real Slurm, on each version of it that people run
	@.ci/test-versions full

slurm-22.05: ## Unpack Debian 12's Slurm into .cache/slurm-22.05, for sandbox up --root
	@.ci/slurm-root 22.05

slurm-24.11: ## The same with Debian 13's
	@.ci/slurm-root 24.11

slurm-26.05: ## The same with that of Debian's testing
	@.ci/slurm-root 26.05

lint: ready-dev ## Lint, types and layering only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: ready-dev ## The pages as a site, with the reference of all endpoints
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "The site begins at docs/_build/html/index.html."

dist: ready-dev ## The wheel and the source distribution, into dist/
	@.ci/dist dist
	@ls dist/*.whl dist/*.tar.gz

deb: ready-dev ## A Debian package for the release that this machine runs, into dist/
	@.ci/deb dist
	@if command -v lintian >/dev/null; then lintian --allow-root dist/slurmbatch_*.deb; fi
	@ls dist/*.deb

bench: ready-bench ## Measure a POST, and all of it beside its peers; less of it: make bench QUICK=1
	$(if $(QUICK),,@$(BIN)/pytest --benchmark-only -q tests/benchmarks/test_post.py)
	@$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick)

soak: ready-bench ## Memory under work: make soak MINUTES=10 JOBS=1000000
	@$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES) --jobs $(JOBS)

chaos: ready-dev ## Kill and hang the daemon and Slurm at random: make chaos MINUTES=10 SEED=1 CLAIMS=both
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed "$(SEED)" --claims $(CLAIMS)

fuzz: ready-dev ## Ask the service what schemathesis makes up, at random: make fuzz EXAMPLES=500
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q tests/api

clean: demo-down ## Remove whatever make has made here
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
		.benchmarks build dist docs/_build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready:
	@.ci/prepare "" $(PROGRAMS)

ready-dev:
	@.ci/prepare dev $(PROGRAMS) $(FOR_TESTS)

ready-bench:
	@.ci/prepare bench $(PROGRAMS) slurmrestd=slurmrestd wrk=wrk
