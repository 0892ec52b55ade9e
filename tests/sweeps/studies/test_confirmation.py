"""The winner of a study is confirmed with seeds that had no part in the choice."""

import json
import re
import shutil
import signal
import statistics
import subprocess
from pathlib import Path

import pytest

from augean.config.sweeper_schema import ConfirmConfig
from augean.errors import AugeanError, ConfigError
from augean.runs.execute import execute
from augean.store.sweep_record import SweepJob, SweepRecord, best_trial, read_records
from augean.sweeps.plan import plan_file
from augean.sweeps.points import describe_budget
from augean.sweeps.studies.confirmation import find_candidates, new_seeds
from commands import augean, train, train_command
from conftest import ROOT, TINY, replace_everywhere
from fake_runs import trial_job
from waiting import wait_for

SETTING = [item for item in TINY if "optimizer.lr" not in item and "epochs" not in item]
STUDY = [
    "-m", "optimizer.lr=tag(log,interval(1e-3,1))", *SETTING, "trainer.epochs=2", "seed=1",
    "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=0",
    "hydra.sweeper.confirm={top: 2, seeds: 2}", "hydra.sweeper.final_seeds=2",
]  # fmt: skip
CONFIRMED = [trial_job(0, 0.9, confirmed_score=0.6), trial_job(1, 0.8, confirmed_score=0.7)]
"""Two trials of which the second is better over new seeds."""


def only_record(outputs: Path) -> SweepRecord:
    (record,), problems = read_records(outputs)
    assert not problems
    return record


def val_accuracy(outputs: Path, item: SweepJob) -> float:
    summary = json.loads((outputs / "runs" / item.run / "summary.json").read_text())
    return float(summary["val_accuracy"])


def test_new_seeds_leave_out_the_trials_own() -> None:
    assert new_seeds(0, 3) == [1, 2, 3]
    assert new_seeds(1, 3) == [0, 2, 3]
    assert new_seeds(7, 3) == [0, 1, 2]


def test_candidates_are_the_best_trials_each_run_once() -> None:
    trials = [trial_job(0, 0.5), trial_job(1, 0.2), trial_job(2, 0.9)]
    same_run = trial_job(3, 0.9, id=trials[2].id)
    pruned = trial_job(4, 1.0, state="pruned")
    confirm = ConfirmConfig(top=2, seeds=1)
    candidates = find_candidates([*trials, same_run, pruned], confirm)
    assert [item.trial for item in candidates] == [2, 0]
    assert find_candidates(trials, ConfirmConfig()) == []


def test_the_mean_over_new_seeds_decides_where_there_is_one() -> None:
    trials = [*CONFIRMED, trial_job(2, 0.85)]
    best = best_trial(trials)
    assert best is not None
    assert best.trial == 1


def test_what_the_choice_flattered_stands_in_captions_and_in_status(tmp_path: Path) -> None:
    record = SweepRecord(
        name="tune", title="Tune", command="augean train", created="now", kind="study",
        jobs=[*CONFIRMED, trial_job(2, 0.1)],
        num_trials=3, winner=["optimizer.lr=1.0"], confirm={"top": 2, "seeds": 5},
        space={"optimizer.lr": "0.1,1"},
    )  # fmt: skip
    record.write(tmp_path)
    assert only_record(tmp_path) == record
    caption = describe_budget(record)
    assert "Trial 1 was chosen among the 2 best" in caption
    assert "over 5 new seeds, 70.00%" in caption
    assert "was 10.00 points better" in caption
    status = augean("status", "--outputs", str(tmp_path))
    assert "70.00% over 5 new seeds by trial 1, 80.00% with its own" in status.stdout


def test_a_diverged_trial_does_not_win(tmp_path: Path) -> None:
    words = [item for item in SETTING if "optimizer.lr" not in item and "schedule" not in item]
    done = train(
        "-m", *words, "model=vgg_a", "schedule=constant", "optimizer.lr=1e18,0.01",
        "hydra.sweeper.n_trials=2", "hydra/sweeper/sampler=grid",
        "hydra.sweeper.confirm={top: 2, seeds: 1}",
        f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = only_record(tmp_path)
    (diverged,) = [item for item in record.trials if float(item.values["optimizer.lr"]) > 1]
    assert diverged.score == diverged.confirmed_score == 0.0
    assert "optimizer.lr=0.01" in record.winner


def check_confirmed(outputs: Path) -> SweepRecord:
    """Check that the winner follows from the runs that are on the disk."""
    record = only_record(outputs)
    confirmed = [item for item in record.trials if item.confirmed_score is not None]
    assert len(confirmed) == 2
    for trial in confirmed:
        rows = [item for item in record.jobs if item.row == f"trial {trial.trial}, new seeds"]
        assert sorted(item.seed for item in rows) == [0, 2], "its own seed, 1, is not among them"
        scores = [val_accuracy(outputs, item) for item in rows]
        assert trial.confirmed_score == statistics.fmean(scores)
    best = record.best_trial()
    assert best is not None
    assert best.confirmed_score == max(item.confirmed_score or 0.0 for item in confirmed)
    assert f"optimizer.lr={best.values['optimizer.lr']}" in record.winner
    assert record.note == record.describe_confirmation() != ""
    finals = [item for item in record.jobs if item.row == "winner"]
    assert [item.seed for item in finals] == [0, 1]
    assert finals[1].id == best.id, "the trial's own run"
    return record


def test_the_best_trials_are_confirmed_once_and_the_best_mean_wins(tmp_path: Path) -> None:
    arguments = [*STUDY, f"runtime.outputs={tmp_path}"]
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    record = check_confirmed(tmp_path)
    assert record.describe_confirmation() in done.stdout
    num_runs = len(list(tmp_path.glob("runs/*")))
    assert num_runs == 4 + 2 * 2, "the final seeds 0 and 1 are among these"
    again = train(*arguments)
    assert again.returncode == 0, again.stderr
    assert check_confirmed(tmp_path).jobs == record.jobs
    assert len(list(tmp_path.glob("runs/*"))) == num_runs
    augean("report", "--outputs", str(tmp_path))
    (page,) = tmp_path.rglob("index.html")
    text = " ".join(page.read_text().split())
    assert text.count("its own seed&#39;s") + text.count("its own seed's") >= 2, "table and figure"
    assert f"trial {record.best_trial().trial}, new seeds" in text  # type: ignore[union-attr]
    # One of the further seeds is lost, and fails when it is trained again.
    lost = next(tmp_path.glob("runs/*-s2-*"))
    lost.rename(tmp_path / "lost")

    def fail(*_: object, **__: object) -> None:
        raise AugeanError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        replace_everywhere(patch, execute, fail)
        failed = train(*arguments)
    assert failed.returncode == 1
    assert "3 finished, 0 diverged, 1 failed (3 were there before)" in failed.stdout
    shutil.rmtree(lost)
    (tmp_path / "lost").rename(lost)
    # Without confirmation the best score of its own decides again, and nothing is trained.
    plain = train(*[item for item in arguments if "confirm" not in item])
    assert plain.returncode == 0, plain.stderr
    assert only_record(tmp_path).note is None
    assert all(item.confirmed_score is None for item in only_record(tmp_path).jobs)


def test_a_confirmation_whose_processes_were_killed_goes_on(tmp_path: Path) -> None:
    arguments = [*STUDY, f"runtime.outputs={tmp_path}", "runtime.workers=2"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            train_command(*arguments), stdout=log, stderr=log, cwd=ROOT, start_new_session=True
        )
        wait_for(lambda: list(tmp_path.glob("runs/*-s2-*/train.log")), 300)
        process.kill()
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    check_confirmed(tmp_path)
    for folder in tmp_path.glob("runs/*"):
        assert (folder / "summary.json").exists()


@pytest.mark.parametrize(
    "option",
    [
        "confirm.seeds=2",
        "timeout=1h",
        "final_seeds=3",
        "max_failures=0",
        "direction=minimize",
        "study_name=mine",
    ],
)
def test_a_grid_takes_no_options_of_studies(option: str) -> None:
    key = re.split(r"[.=]", option)[0]
    with pytest.raises(ConfigError, match=rf"hydra\.sweeper\.{key}: a grid has none"):
        plan_file("config", ["dataset=digits", "activation=relu,elu", f"hydra.sweeper.{option}"])
