# Augean: `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 1
OUTPUTS ?= outputs
# Further overrides for every sweep target: make table1 ARGS=experiment=demo
ARGS ?=
# Name of a folder of results below results/, and an archive of runs
NAME ?= reduced
ARCHIVE ?= runs.tar.xz
SWEEP = $(BIN)/python train.py -cd sweeps runtime.outputs=$(OUTPUTS) runtime.workers=$(WORKERS)
DEMO = $(BIN)/python train.py -cd sweeps runtime.outputs=$(OUTPUTS) runtime.workers=2
# Processes of tests: many tests wait for others
PARALLEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo check format test test-integration test-slow test-cuda bench gpu report status \
	table1 table2 table3 table4 table4-tuned optimizer-lr tune final stock stem dropout recipe part2 fashion-mnist \
	reproduce results pack unpack clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: WORKERS=4 processes, OUTPUTS=folder, ARGS=\"overrides\", PYTHON=python3.12 (of setup). Examples:"
	@echo '  make demo OUTPUTS=/tmp/demo'
	@echo '  make table1 WORKERS=4 ARGS=experiment=demo'

.DEFAULT:
	@echo "make: there is no target $@; these there are:" >&2; $(MAKE) --silent help >&2; exit 2

setup: $(VENV)/.ready ## .venv with everything, at the exact versions of constraints.txt

# Two steps, the second only where the first went through: a half-made .venv is made again.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Augean needs Python 3.11 or newer, $(PYTHON) is " + \
		sys.version.split()[0] + ": make setup PYTHON=python3.11" or 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

# Three seeds a row, so that rows can be decided at all; narrow networks, so that they fit into the time.
demo: setup ## Tables 1-4 and Part 2 on real digits, small enough for two CPU cores, and their report (a few minutes)
	$(DEMO) -cn table1_activation experiment=demo width=w8 trainer.epochs=5
	$(DEMO) -cn table2_weight_decay experiment=demo width=w8 trainer.epochs=5
	$(DEMO) -cn table3_width experiment=demo width=w8 trainer.epochs=5 width.channels=4,8,16 runtime.table.baseline=8
	$(DEMO) -cn table4_optimizer experiment=demo width=w8 trainer.epochs=5
	$(DEMO) -cn batchnorm experiment=starter_demo width=w8 seed=0,1,2
	$(DEMO) -cn landscape experiment=starter_demo width=w8 optimizer.lr=1e-3,1e-4
	$(DEMO) -cn probe experiment=starter_demo width=w8 record.probe_every=5
	$(BIN)/augean report --outputs $(OUTPUTS)

table1: setup ## Table 1: activation (WORKERS=n, ARGS="overrides")
	$(SWEEP) -cn table1_activation $(ARGS)

table2: setup ## Table 2: weight decay
	$(SWEEP) -cn table2_weight_decay $(ARGS)

table3: setup ## Table 3: channels
	$(SWEEP) -cn table3_width $(ARGS)

table4: setup ## Table 4: optimizer
	$(SWEEP) -cn table4_optimizer $(ARGS)

table4-tuned: setup ## Table 4 with equal tuning budgets: four studies, then their winners
	for optimizer in sgd adam adagrad rmsprop; do $(SWEEP) -cn tune_$$optimizer $(ARGS) || exit; done
	$(SWEEP) -cn table4_tuned $(ARGS)

optimizer-lr: setup ## Table 4 in its fair form: each optimizer at four learning rates
	$(SWEEP) -cn optimizer_lr $(ARGS)

tune: setup ## tune the final model (then: augean promote tune_final)
	$(SWEEP) -cn tune_final $(ARGS)

final: setup ## the final model
	$(SWEEP) -cn final $(ARGS)

stock: setup ## the stock 200-epoch ResNet-18 that the final model is compared with
	$(SWEEP) -cn stock $(ARGS)

stem: setup ## 3x3 against 7x7 stem
	$(SWEEP) -cn stem $(ARGS)

dropout: setup ## dropout beside batch norm
	$(SWEEP) -cn dropout $(ARGS)

recipe: setup ## weight decay and optimizer state that may be behind the course report
	$(SWEEP) -cn recipe $(ARGS)

part2: setup ## VGG-A with and without batch norm, and both loss landscapes
	$(SWEEP) -cn batchnorm $(ARGS)
	$(SWEEP) -cn batchnorm_sgd $(ARGS)
	$(SWEEP) -cn landscape $(ARGS)
	$(SWEEP) -cn probe $(ARGS)
	$(SWEEP) -cn probe_sgd $(ARGS)

fashion-mnist: setup ## ResNet-18 on Fashion-MNIST beside its published number; CPU: ARGS="width=w16 trainer.precision=fp32"
	$(SWEEP) -cn fashion_mnist $(ARGS)

reproduce: table1 table2 table3 table4 table4-tuned optimizer-lr tune final stock stem dropout recipe part2 report ## all of the course report, then the report

report: setup ## tables, figures and index.html from OUTPUTS=dir
	$(BIN)/augean report --outputs $(OUTPUTS)

results: setup ## results/NAME from OUTPUTS=dir: claims judged, tables, figures; fills README and docs/reproduction.md
	$(BIN)/augean results $(OUTPUTS) --to results/$(NAME) --fill README.md --fill docs/reproduction.md

pack: setup ## the small files of all runs in OUTPUTS=dir as ARCHIVE=file, without weights
	$(BIN)/augean pack --outputs $(OUTPUTS) --to $(ARCHIVE)

unpack: setup ## merge ARCHIVE=file, of runs made elsewhere, into OUTPUTS=dir
	$(BIN)/augean unpack $(ARCHIVE) --outputs $(OUTPUTS)

status: setup ## runs of each sweep by state; SWEEP_NAME=name ARGS="overrides": before its launch, what it would do
	$(BIN)/augean status --outputs $(OUTPUTS) $(SWEEP_NAME) $(ARGS)

bench: setup ## throughput beside other training loops
	$(BIN)/augean bench

gpu: setup ## ten minutes on a CUDA device: its tests, a profile, the bench, several runs at once; into gpu/
	$(BIN)/python benchmarks/gpu.py

check: setup ## lint, format, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## mend lint and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## all tests that need nothing installed
	$(BIN)/pytest -m "not slow and not integration and not cuda" -n $(PARALLEL)

test-integration: setup ## tests against real servers
	$(BIN)/pytest -m "integration and not slow" -n $(PARALLEL) --dist loadgroup

test-slow: setup ## torture and fuzz at full count
	$(BIN)/pytest -m slow -n $(PARALLEL)

test-cuda: setup ## tests that need a CUDA device
	$(BIN)/pytest -m cuda -W default

clean: ## caches, not outputs
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
