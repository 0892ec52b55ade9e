"""Studies in the report: the expected best score, and that trials are no rows of a table."""

from itertools import product
from pathlib import Path

import pandas
import pytest

from augean.report import make_report
from augean.report.tuning_figures import expected_best
from augean.store.sweep_record import SweepJob, SweepRecord


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [3.0, 1.0, 2.0, 2.5]
    for budget, value in enumerate(expected_best(scores), start=1):
        draws = [max(draw) for draw in product(scores, repeat=budget)]
        assert value == pytest.approx(sum(draws) / len(draws))


def study(name: str, scores: list[float | None]) -> SweepRecord:
    states = {True: "complete", False: "pruned"}
    jobs = [
        SweepJob(
            f"{number:010x}",
            f"run-{number:010x}",
            f"trial {number}",
            0,
            number,
            states[score is not None],
            score,
        )
        for number, score in enumerate(scores)
    ]
    return SweepRecord(
        name=name, title=f"Tuning of {name}", command="again", created="now", jobs=jobs,
        kind="study", num_trials=len(scores), space={"optimizer.lr": "interval(0,1)"},
    )  # fmt: skip


def test_trials_are_a_figure_and_no_rows(tmp_path: Path) -> None:
    study("sgd", [0.5, 0.9, None]).write(tmp_path)
    study("adam", [0.6, 0.7, 0.8]).write(tmp_path)
    study("one", [0.6, None]).write(tmp_path)
    SweepRecord(
        name="both", title="Both", command="again", created="now", jobs=[], studies=["sgd", "adam"]
    ).write(tmp_path)
    result = make_report(tmp_path)
    assert result.problems == []
    for name in ("sgd", "adam", "both"):
        assert (result.directory / "figures" / f"{name}_tuning.png").exists()
    assert not (result.directory / "figures" / "one_tuning.png").exists()  # nothing to draw from
    text = (result.directory / "report.md").read_text()
    assert "3 trials, 1 of them pruned, over optimizer.lr interval(0,1)" in text
    assert "trial 0" not in text
    assert len(pandas.read_csv(result.directory / "tables" / "sgd.csv")) == 0


def test_trials_are_drawn_by_parameter_and_ends_are_remarked_on(tmp_path: Path) -> None:
    jobs = []
    for number in range(14):
        state = {2: "pruned", 5: "fail", 6: "running"}.get(number, "complete")
        has_score = state in ("complete", "pruned")
        job = SweepJob(
            id=f"{number:010x}",
            run=f"run-{number:010x}",
            row=f"trial {number}",
            seed=0,
            trial=number,
            state=state,
            score=0.9 - 0.02 * number if has_score else None,
            values={
                "optimizer.lr": 10 ** (-number / 60),
                "activation": ["relu", "elu"][number % 2],
            },
        )
        jobs.append(job)
    space = {"optimizer.lr": "tag(log, interval(1e-3, 1.0))", "activation": "relu,elu"}
    SweepRecord(
        name="lr", title="Tuning", command="again", created="now", jobs=jobs, kind="study",
        num_trials=len(jobs), space=space,
    ).write(tmp_path)  # fmt: skip
    result = make_report(tmp_path)
    assert result.problems == []
    for kind in ("png", "svg"):
        assert (result.directory / "figures" / f"lr_slices.{kind}").exists()
    text = (result.directory / "report.md").read_text()
    assert "upper end of optimizer.lr" in text
    assert "widen it" in text
    # Eleven complete trials are too few to tell what matters.
    assert "PED-ANOVA" not in text
