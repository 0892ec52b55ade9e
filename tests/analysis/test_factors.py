"""Tables of two factors: rows by columns, and whether the effect of one depends on the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from augean.analysis.comparison import summarise
from augean.analysis.factors import Factors, interaction
from augean.analysis.load import scan
from augean.analysis.verdict import Verdict
from augean.errors import ConfigError
from augean.report import ReportResult, make_report
from augean.report.figures.factors import with_margins
from augean.store.sweep_record import read_records
from augean.sweeps.plan import plan_file
from fake_runs import write_record, write_run

NOISE = (-0.002, 0.0, 0.001, 0.001)
MEANS = {("sgd", "0.1"): 0.9, ("sgd", "0.01"): 0.85, ("adam", "0.1"): 0.5, ("adam", "0.01"): 0.88}


def report(
    outputs: Path, means: dict[tuple[str, str], float], select: str | None = None, **states: str
) -> ReportResult:
    jobs = []
    for (row, column), mean in means.items():
        for seed, noise in enumerate(NOISE):
            job: dict[str, Any] = write_run(
                outputs,
                optimizer__name=row,
                optimizer__lr=float(column),
                seed=seed,
                accuracy=mean + noise,
                row=f"{row}, {column}",
                state=states.get(row, "finished") if seed == 0 else "finished",
            )
            jobs.append(job | {"column": column})
    write_record(
        outputs,
        "two",
        jobs,
        row_key="optimizer.name, optimizer.lr",
        column="optimizer.lr",
        baseline="sgd, 0.1",
    )
    return make_report(outputs, select)


def test_cells_have_margins_and_the_contrast_a_verdict(tmp_path: Path) -> None:
    result = report(tmp_path, MEANS)
    assert result.problems == []
    grid = pandas.read_csv(result.directory / "figures/two_grid.csv", index_col=0)
    assert grid.loc["adam", "0.1"] == pytest.approx(50)
    assert grid.loc["adam", "mean"] == pytest.approx(69)
    assert grid.loc["mean", "0.01"] == pytest.approx(86.5)
    assert (result.directory / "figures/two_grid.png").exists()
    text = (result.directory / "index.html").read_text()
    assert "adam beside sgd gains 43.00 points more at 0.01 than at 0.1" in text


def test_a_row_or_a_column_named_mean_is_not_the_margin() -> None:
    rows, columns = ["mean", "max"], ["0.1", "mean"]
    factors = Factors(rows, columns, numpy.array([[60.0, 70.0], [80.0, 90.0]]), [], "")
    grid = with_margins(factors)
    assert list(grid.columns) == ["0.1", "mean", "(mean)"]
    assert list(grid.loc["mean"]) == [60, 70, 65]
    assert list(grid.loc["(mean)"]) == [70, 80, 75]


def test_equal_effects_are_equivalent_and_missing_ones_not_judged(tmp_path: Path) -> None:
    same = MEANS | {("adam", "0.1"): 0.93}
    text = (report(tmp_path / "same", same).directory / "report.md").read_text()
    assert "The effect of the row is the same in all columns" in text
    # A selection of the finished runs does not make the diverged ones undone.
    for select in (None, "state=finished"):
        diverged = report(tmp_path / "diverged", MEANS, select, adam="diverged")
        text = (diverged.directory / "report.md").read_text()
        assert "is not judged: runs of adam, 0.1 diverged" in text


def test_a_settled_table_does_not_judge_the_interaction(tmp_path: Path) -> None:
    report(tmp_path, MEANS)
    (record,) = read_records(tmp_path)[0]
    design = {"margin": 0.5, "least": 3, "most": 20, "alpha": 0.05, "looks": 18, "seeds": {}}
    replace(record, design=design).write(tmp_path)
    text = (make_report(tmp_path).directory / "report.md").read_text()
    assert "is not judged: the scores decided how many seeds each cell has" in text


def test_a_cell_whose_seeds_agree_takes_part_and_four_such_cells_decide_nothing() -> None:
    rows, columns = ["a", "b"], ["x", "y", "z"]
    scores = {
        # numpy's variance of these is not 0.
        ("a", "x"): [90.1, 90.1, 90.1],
        ("b", "x"): [80.0, 80.0, 80.0],
        ("a", "y"): [90.0, 90.0, 90.0],
        ("b", "y"): [50.0, 50.0, 50.0],
        ("a", "z"): [91.0, 90.0, 89.0],
        ("b", "z"): [40.0, 50.0, 45.0],
    }
    (steady, varied), method = interaction(scores, rows, columns)
    assert "variances of their own" in method
    assert steady.verdict is Verdict.UNDECIDED
    assert numpy.isnan(steady.low)
    # s^2 / n is 1 / 3 and 25 / 3; t with 2 degrees of freedom at 1 - 0.05 / 2 / 2 is 6.205.
    half = 6.205 * numpy.sqrt(26 / 3)
    assert (varied.value, varied.high - varied.value) == pytest.approx((-34.9, half), rel=1e-3)


def test_cells_are_not_pooled_where_one_has_no_spread() -> None:
    # Levene's test needs three seeds a cell, and says nothing of cells without a spread.
    scores = {
        ("a", "x"): [90.0, 90.0, 90.0],
        ("b", "x"): [91.0, 91.0, 91.0],
        ("a", "y"): [90.0, 90.0, 90.0],
        ("b", "y"): [92.3, 92.31],
    }
    ((contrast,), method) = interaction(scores, ["a", "b"], ["x", "y"])
    assert "variances of their own" in method
    # One degree of freedom: t is 12.71, and s^2 / n is 0.005^2.
    assert contrast.high - contrast.value == pytest.approx(12.706 * 0.005, rel=1e-3)


@pytest.mark.parametrize("deviations", [(1, 1, 1, 1, 1, 1), (8, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 8)])
def test_tables_without_interaction_rarely_find_one(deviations: tuple[int, ...]) -> None:
    generator = numpy.random.default_rng(0)
    rows, columns = ["a", "b", "c"], ["x", "y"]
    cells = [(row, column) for row in rows for column in columns]
    false = 0
    for _ in range(300):
        scores = {
            cell: generator.normal(0, deviation, 4).tolist()
            for cell, deviation in zip(cells, deviations, strict=True)
        }
        contrasts, _ = interaction(scores, rows, columns)
        false += any(item.verdict in (Verdict.BETTER, Verdict.WORSE) for item in contrasts)
    assert false <= 25  # 15 are expected at most; more than 25 has a chance of about 1 %


def test_a_sweep_file_names_its_columns(tmp_path: Path) -> None:
    overrides = ["experiment=demo", "seed=0", "optimizer=sgd,adam", "optimizer.lr=0.1,0.01"]
    plan = plan_file("optimizer_lr", [*overrides, f"runtime.outputs={tmp_path}"])
    assert plan.record.row_keys == ["optimizer.name", "optimizer.lr"]
    assert [(job.row, job.column) for job in plan.record.jobs] == [
        ("sgd, 0.1", "0.1"),
        ("sgd, 0.01", "0.01"),
        ("adam, 0.1", "0.1"),
        ("adam, 0.01", "0.01"),
    ]
    with pytest.raises(ConfigError, match=r"runtime\.table\.column=seed: needs another key"):
        plan_file("optimizer_lr", ["runtime.table.row=null", "runtime.table.column=seed"])


@pytest.mark.parametrize(("schedule", "is_shared"), [("plateau", True), ("cosine", False)])
def test_rows_that_share_their_first_epochs_are_said_to(
    tmp_path: Path, schedule: str, is_shared: bool
) -> None:
    jobs = []
    for epochs in (4, 8):
        for seed in range(2):
            job = write_run(
                tmp_path,
                epochs=epochs,
                seed=seed,
                row=str(epochs),
                schedule__name=schedule,
                files=False,
            )
            jobs.append(job)
    write_record(tmp_path, "one", jobs, row_key="trainer.epochs", baseline="4")
    text = " ".join(summarise(scan(tmp_path).sweeps[0]).remarks)
    assert ("begin with the same epochs" in text) == is_shared
