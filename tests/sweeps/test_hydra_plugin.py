"""The sweeper as Hydra loads it: never in a single run, and for files of Optuna's sweeper too."""

import subprocess
import sys
from pathlib import Path

from augean.store.sweep_record import read_records
from commands import train, train_process
from conftest import ROOT, TINY

OPTUNA_FILE = """
defaults:
  - config
  - override hydra/sweeper: optuna
  - override hydra/sweeper/sampler: random
  - _self_
hydra:
  mode: MULTIRUN
  sweeper:
    direction: maximize
    study_name: theirs
    n_trials: 3
    n_jobs: 2
    max_failure_rate: 0.34
    sampler:
      seed: 1
    params:
      trainer.epochs: 1
      optimizer.lr: tag(log, interval(1e-3, 0.1))
runtime:
  table:
    title: Theirs
"""
LIST_LOADED = """
import sys
from augean.hydra_main import main

main()
print("loaded:", *sorted(name for name in sys.modules if name.startswith("augean.sweeps")))
print("optuna" in sys.modules)
"""
SETTING = [item for item in TINY if not item.startswith(("optimizer.lr", "trainer.epochs"))]


def test_a_single_run_loads_nothing_of_sweeps(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIST_LOADED, *TINY, f"runtime.outputs={tmp_path}"]
    for _ in range(2):  # trained, then skipped
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-2:] == ["loaded:", "False"]


def test_a_file_for_optunas_sweeper_leaves_a_study_and_a_record(tmp_path: Path) -> None:
    # Such files often name the class too.
    target = "_target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    text = OPTUNA_FILE.replace("direction:", f"{target}\n    direction:")
    (tmp_path / "theirs.yaml").write_text(text)
    outputs = tmp_path / "outputs"
    arguments = ["-cd", str(tmp_path), "-cn", "theirs", *SETTING, f"runtime.outputs={outputs}"]
    done = train_process(*arguments)
    assert done.returncode == 0, done.stderr
    # Said once, though two workers run the same command.
    assert done.stdout.count("hydra/sweeper: optuna is run by Augean's own sweeper") == 1
    assert "max_failures=1 (max_failure_rate=0.34), runtime.workers=2 (n_jobs=2)" in done.stdout
    assert (outputs / "studies" / "theirs.journal").is_file()
    (record,), problems = read_records(outputs)
    assert not problems
    assert (record.kind, record.num_trials, record.direction) == ("study", 3, "maximize")
    assert [job.state for job in record.trials] == ["complete"] * 3
    again = train(*arguments)
    assert "3 trials, 3 of them done already" in again.stdout, again.stderr


def test_a_file_for_hydras_own_sweeper_is_refused(tmp_path: Path) -> None:
    text = OPTUNA_FILE.replace("sweeper: optuna", "sweeper: basic").splitlines()
    start = text.index("    direction: maximize")
    del text[start : text.index("    params:")]
    text = [line for line in text if "sampler" not in line]
    text = [line.replace("tag(log, interval(1e-3, 0.1))", "0.1,0.2") for line in text]
    (tmp_path / "theirs.yaml").write_text("\n".join(text))
    arguments = ["-cd", str(tmp_path), "-cn", "theirs", *SETTING]
    done = train(*arguments, f"runtime.outputs={tmp_path}/outputs")
    assert done.returncode == 1
    assert "hydra/sweeper: basic is not a sweeper that leaves a record" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs" / "runs").exists()
