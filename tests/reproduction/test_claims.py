"""A statement is judged by values that exist, of runs that may be compared."""

import math
from pathlib import Path
from typing import Any

import pytest

from augean.analysis.comparison import summarise
from augean.analysis.load import scan
from augean.analysis.recordings import read_metrics
from augean.reproduction.claims import Evidence
from augean.reproduction.statements import Judged, Judgement, Statement
from augean.store.run_directory import METRICS, runs_dir, write_metrics
from fake_runs import sign, write_record, write_run


def gather(outputs: Path) -> Evidence:
    contents = scan(outputs)
    metrics = read_metrics(contents, contents.runs.values())
    tables = {sweep.record.name: summarise(sweep) for sweep in contents.sweeps}
    return Evidence(contents, tables, metrics)


def judge(outputs: Path, **statement: Any) -> Judged:
    """Judge a statement about the row `a` of a table `one`, whose baseline is `base`."""
    return gather(outputs).judge(Statement(claim=1, text="", sweep="one", row="a", **statement))


def write_rows(outputs: Path, *, seconds: float) -> list[dict[str, Any]]:
    """Three runs of the baseline, which take 40 seconds, and three of the row `a`."""
    jobs = []
    for row, duration in (("base", 40.0), ("a", seconds)):
        for seed in range(3):
            job = write_run(
                outputs,
                row=row,
                seed=seed,
                activation__name=row,
                seconds=duration + seed,
                files=False,
            )
            jobs.append(job)
    return jobs


@pytest.mark.parametrize("row", ["a", "base"])
@pytest.mark.parametrize("seconds", [20.0, 90.0])
def test_times_beside_diverged_runs_cannot_be_judged(
    tmp_path: Path, seconds: float, row: str
) -> None:
    jobs = write_rows(tmp_path, seconds=seconds)
    write_record(tmp_path, "one", jobs, baseline="base")
    expected = Judgement.HOLDS if seconds > 40 else Judgement.WRONG
    assert judge(tmp_path, measure="seconds").judgement is expected
    jobs.append(write_run(tmp_path, row=row, seed=9, activation__name=row, state="diverged"))
    write_record(tmp_path, "one", jobs, baseline="base")
    judged = judge(tmp_path, measure="seconds")
    assert judged.judgement is Judgement.CANNOT_BE_SAID
    assert "diverged" in judged.evidence


def test_runs_without_validation_images_reach_no_goal_and_do_not_swing(tmp_path: Path) -> None:
    jobs = write_rows(tmp_path, seconds=40.0)
    for job in jobs:
        path = runs_dir(tmp_path) / job["run"]
        empty = dict.fromkeys(METRICS)
        write_metrics(path, [empty | {"epoch": epoch, "train_loss": 1.0} for epoch in (1, 2, 3)])
        sign(path, num_val=0, val_accuracy=None, val_loss=None)
    write_record(tmp_path, "one", jobs, baseline="base")
    judged = judge(tmp_path, measure="epochs", expected="less")
    assert judged.judgement is Judgement.CANNOT_BE_SAID
    assert "0.00" not in judged.evidence
    evidence = gather(tmp_path)
    assert all(math.isnan(value) for value in evidence.swing(evidence.tables["one"].rows[0]))


def test_a_run_of_one_epoch_has_no_fall(tmp_path: Path) -> None:
    write_record(tmp_path, "one", [write_run(tmp_path, epochs=1, row="a", files=False)])
    evidence = gather(tmp_path)
    swing = evidence.swing(evidence.tables["one"].rows[0])
    assert swing.median == 0
    assert math.isnan(swing.fall)
