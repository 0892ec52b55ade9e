"""Optimizers at learning rates of their own: validation chooses, and the test set compares."""

from dataclasses import replace
from pathlib import Path

import pytest

from augean.analysis.comparison import summarise
from augean.analysis.load import scan
from augean.analysis.verdict import Verdict
from augean.reproduction.rates import Rates, read_rates
from augean.reproduction.results import build_results
from augean.store.run_directory import runs_dir
from augean.store.summary import Divergence, RunState, read_summary, write_summary
from fake_runs import write_record, write_run

NOISE = (-0.002, 0.0, 0.002)
Cell = tuple[str, str]
# Optimizer and rate to the accuracies on the validation and on the test split.
CELLS: dict[Cell, tuple[float, float]] = {
    ("sgd", "0.1"): (0.80, 0.85),
    ("sgd", "0.01"): (0.82, 0.81),
    ("adam", "0.1"): (0.20, 0.20),
    ("adam", "0.01"): (0.90, 0.89),
}


def write_rates(outputs: Path, cells: dict[Cell, tuple[float, float]], **states: str) -> None:
    jobs = []
    for (optimizer, rate), (validation, test) in cells.items():
        for seed, noise in enumerate(NOISE):
            job = write_run(
                outputs,
                optimizer__name=optimizer,
                optimizer__lr=float(rate),
                seed=seed,
                accuracy=test + noise,
                row=f"{optimizer}, {rate}",
                files=False,
                state=states.get(optimizer, "finished"),
            )
            path = runs_dir(outputs) / job["run"]
            summary = read_summary(path) if path.exists() else None
            if summary is not None:
                write_summary(path, replace(summary, val_accuracy=validation + noise))
            jobs.append(job | {"column": rate})
    write_record(
        outputs,
        "optimizer_lr",
        jobs,
        title="Optimizer x learning rate",
        row_key="optimizer.name, optimizer.lr",
        column="optimizer.lr",
        baseline="sgd, 0.1",
    )


def rates_of(outputs: Path) -> Rates | None:
    return read_rates(summarise(scan(outputs).sweeps[0]))


def test_validation_chooses_each_rate_and_the_first_optimizer_is_compared_with(
    tmp_path: Path,
) -> None:
    write_rates(tmp_path, CELLS)
    rates = rates_of(tmp_path)
    assert rates is not None
    assert rates.rates == ["0.1", "0.01"]
    sgd, adam = rates.optimizers
    # The test accuracy of SGD is better at the rate that validation does not choose.
    assert (sgd.optimizer, sgd.rate, sgd.difference.verdict) == ("sgd", "0.01", Verdict.BASELINE)
    assert sgd.means == pytest.approx([85, 81])
    assert (adam.optimizer, adam.rate, adam.difference.verdict) == ("adam", "0.01", Verdict.BETTER)
    assert adam.difference.value == pytest.approx(89 - 81)


def test_an_optimizer_without_a_finished_run_is_left_out(tmp_path: Path) -> None:
    write_rates(tmp_path, CELLS, adam="missing")
    rates = rates_of(tmp_path)
    assert rates is not None
    assert [line.optimizer for line in rates.optimizers] == ["sgd"]
    write_rates(tmp_path / "none", CELLS, adam="missing", sgd="failed")
    assert rates_of(tmp_path / "none") is None


def test_a_rate_at_which_a_run_diverged_is_passed_over_for_a_steady_one(tmp_path: Path) -> None:
    write_rates(tmp_path, CELLS)
    # At the rate of the best validation accuracy one seed in three of each optimizer is lost.
    for path in runs_dir(tmp_path).glob("*-s0-*"):
        summary = read_summary(path)
        assert summary is not None
        if summary.config["optimizer.lr"] == 0.01:
            lost = Divergence(epoch=5, step=120, last_loss=2.3)
            diverged = replace(summary, status=RunState.DIVERGED, diverged=lost, test_accuracy=None)
            write_summary(path, diverged)
    rates = rates_of(tmp_path)
    assert rates is not None
    assert [line.rate for line in rates.optimizers] == ["0.1", "0.1"]


def test_the_page_of_results_shows_them(tmp_path: Path) -> None:
    write_rates(tmp_path / "outputs", CELLS)
    build_results(tmp_path / "outputs", tmp_path / "results")
    text = (tmp_path / "results" / "README.md").read_text()
    block = text.split("## Each optimizer at several learning rates")[1].split("\n## ")[0]
    assert "| sgd | 85.00 | 81.00 | 0.01 | 3 | 81.00 | - | - | baseline |" in block
    assert "| adam | 20.00 | 89.00 | 0.01 | 3 | 89.00 | +8.00 | ± " in block
    assert "(./figures/optimizer_lr_grid.png)" in block
