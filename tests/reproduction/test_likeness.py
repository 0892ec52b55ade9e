"""Rows of several tables are compared only where that means something."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_results import verdicts

from augean.reproduction.results import build_results
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary, write_summary
from fake_runs import write_record, write_run

SPREAD = (-0.002, 0.0, 0.002)


def write_rival(
    outputs: Path, name: str, mean: float, epochs: int, seconds: float, **summary: Any
) -> None:
    """Write a sweep of one row, three seeds; `summary` replaces entries of its runs' summaries."""
    jobs = []
    for seed, step in enumerate(SPREAD):
        job = write_run(
            outputs,
            row="resnet18",
            seed=seed,
            accuracy=mean + step,
            epochs=epochs,
            seconds=seconds,
            files=False,
        )
        path = runs_dir(outputs) / job["run"]
        whole = read_summary(path)
        assert whole is not None
        write_summary(path, replace(whole, **summary))
        jobs.append(job)
    write_record(outputs, name, jobs, row_key="model.name")


def goal(outputs: Path) -> str:
    """Return what the page says of the goal of the final model."""
    target = outputs.parent / "results"
    build_results(outputs, target)
    lines = (target / "README.md").read_text().splitlines()
    return next(line for line in lines if line.startswith("- Goal, as reported"))


@pytest.mark.parametrize(
    ("final", "obstacle"),
    [
        ({"num_test": 200}, "it was tested on other images than the stock run"),
        ({"device": "NVIDIA H200"}, "the times are those of different hardware"),
    ],
)
def test_a_goal_needs_the_stock_runs_images_and_hardware(
    tmp_path: Path, final: dict[str, Any], obstacle: str
) -> None:
    outputs = tmp_path / "outputs"
    write_rival(outputs, "stock", 0.8, epochs=200, seconds=100.0)
    write_rival(outputs, "final", 0.9, epochs=120, seconds=20.0)
    assert "Met: 89.50 against 80.00 %" in goal(outputs)
    other = tmp_path / "other" / "outputs"
    write_rival(other, "stock", 0.8, epochs=200, seconds=100.0)
    write_rival(other, "final", 0.9, epochs=120, seconds=20.0, **final)
    assert goal(other).endswith(f"Cannot be said: {obstacle}.")


def test_a_goal_is_not_met_by_survivors(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    write_rival(outputs, "stock", 0.8, epochs=200, seconds=100.0)
    jobs = []
    for seed in range(5):
        state = "diverged" if seed > 2 else "finished"
        job = write_run(
            outputs,
            row="resnet18",
            seed=seed,
            accuracy=0.9 + 0.001 * seed,
            state=state,
            epochs=120,
            seconds=20.0,
            files=False,
        )
        jobs.append(job)
    write_record(outputs, "final", jobs, row_key="model.name")
    assert "Cannot be said: runs diverged" in goal(outputs)


def test_seconds_of_different_hardware_say_nothing(tmp_path: Path) -> None:
    jobs = []
    for row, device, seconds in (("leaky_relu", "NVIDIA H200", 20.0), ("relu", "cpu (x)", 400.0)):
        for seed in range(3):
            job = write_run(
                tmp_path / "o",
                row=row,
                activation__name=row,
                seed=seed,
                device=device,
                seconds=seconds + seed,
                files=False,
            )
            jobs.append(job)
    write_record(tmp_path / "o", "table1_activation", jobs, baseline="leaky_relu")
    build_results(tmp_path / "o", tmp_path / "r")
    assert verdicts(tmp_path / "r")["ReLU is slower than LeakyReLU"] == "cannot be said here"
    assert "relu and leaky_relu: on different hardware" in (tmp_path / "r/README.md").read_text()


@pytest.mark.parametrize(
    ("adam", "sgd"),
    [
        (["diverged", "missing", "missing"], ["finished"] * 3),
        (["diverged"] * 3, ["diverged"] * 3),
        (["diverged"] * 3, ["missing"] * 3),
    ],
)
def test_divergence_proves_nothing_without_all_seeds_and_a_baseline(
    tmp_path: Path, adam: list[str], sgd: list[str]
) -> None:
    jobs = []
    for row, states in (("sgd", sgd), ("adam", adam)):
        for seed, state in enumerate(states):
            job = write_run(
                tmp_path / "o", row=row, seed=seed, optimizer__name=row, state=state, files=False
            )
            jobs.append(job)
    write_record(tmp_path / "o", "table4_optimizer", jobs, baseline="sgd")
    build_results(tmp_path / "o", tmp_path / "r")
    assert verdicts(tmp_path / "r")["Adam is worse than SGD"] == "cannot be said here"
