"""What is learned from a study, from its record alone: importance, and ends of ranges."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pandas
import pytest

from augean.analysis.studies import (
    FEWEST_TRIALS,
    Range,
    importances,
    remarks_on_ends,
    searched_range,
)
from augean.store.sweep_record import SweepJob, SweepRecord
from conftest import ROOT


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = spec_from_file_location("importance", ROOT / "benchmarks" / "importance.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def study(
    trials: list[tuple[float | None, dict[str, Any]]],
    space: dict[str, str],
    direction: Any = "maximize",
) -> SweepRecord:
    """Return a study of trials with these scores and values; without a score one has failed."""
    jobs = []
    for number, (score, values) in enumerate(trials):
        job = SweepJob(
            id=f"{number:010x}",
            run=f"run-{number:010x}",
            row=f"trial {number}",
            seed=0,
            trial=number,
            state="fail" if score is None else "complete",
            score=score,
            values=values,
        )
        jobs.append(job)
    return SweepRecord(
        name="s", title="S", command="again", created="now", jobs=jobs, kind="study",
        direction=direction, space=space,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("interval(0.0, 0.98)", Range(0.0, 0.98, is_log=False)),
        ("tag(log, interval(1e-3, 1.0))", Range(1e-3, 1.0, is_log=True)),
        ("int(interval(1,8))", Range(1, 8, is_log=False)),
        ("interval(start=1, end=2)", Range(1, 2, is_log=False)),
        ("relu,elu", None),
        ("range(1,5)", None),
        ("interval(2,1)", None),
        ("interval(0,inf)", None),
        ("tag(log,interval(0,1))", None),
        ("interval(a,b)", None),
    ],
)
def test_ranges_are_read_as_they_were_typed(text: str, searched: Range | None) -> None:
    assert searched_range(text) == searched


def test_positions_are_on_the_scale_that_was_searched() -> None:
    assert Range(1e-4, 1.0, is_log=True).position(1e-2) == pytest.approx(0.5)
    assert Range(0.0, 4.0, is_log=False).position(1.0) == 0.25
    assert Range(1e-4, 1.0, is_log=True).position(0.0) == 0.0  # the default lies outside


def test_the_parameter_that_decides_is_the_most_important(bench: ModuleType) -> None:
    generator = bench.numpy.random.default_rng(1)
    shares = importances(bench.simulate_study(40, generator))
    assert max(shares, key=shares.__getitem__) == "optimizer.lr"
    assert sum(shares.values()) == pytest.approx(1.0)


def test_few_trials_have_no_importance(bench: ModuleType) -> None:
    generator = bench.numpy.random.default_rng(1)
    assert importances(bench.simulate_study(FEWEST_TRIALS - 1, generator)) == {}


def test_values_of_any_kind_have_an_importance() -> None:
    values: list[dict[str, Any]] = [
        {"a": None, "b": 0.0},  # the default: outside the range of b
        {"a": [3, 3], "b": 0.1, "c": 1},
        {"a": True, "b": 1.0},
    ]
    trials: list[tuple[float | None, dict[str, Any]]] = []
    for number in range(15):
        trials.append((0.5 + number / 100, values[number % 3]))
    trials.append((None, values[0]))
    record = study(trials, {"a": "null,[3,3],true", "b": "tag(log,interval(0.1,1))"}, "minimize")
    assert importances(record).keys() == {"a", "b", "c"}


def test_docs_give_the_measured_reliability(bench: ModuleType) -> None:
    measured = pandas.read_csv(bench.OUTPUT)
    text = " ".join((ROOT / "docs" / "internals" / "verdicts.md").read_text().split())
    for line in measured.itertuples():
        share = f"{100 * line.first:.0f} %"
        assert f"{share} with {line.trials}" in text
    assert bench.share_named_first(8, 100) == pytest.approx(measured["first"][0], abs=0.15)


def test_best_trials_at_an_end_of_a_range_are_remarked_on() -> None:
    space = {"optimizer.lr": "tag(log, interval(1e-4, 1.0))", "optimizer.momentum": "interval(0,1)"}
    trials: list[tuple[float | None, dict[str, Any]]] = []
    for number in range(8):
        values = {"optimizer.lr": 10 ** (-number / 20), "optimizer.momentum": number / 8}
        trials.append((0.9 - number / 100, values))
    (remark,) = remarks_on_ends(study(trials, space))
    assert "best 3 of 8 trials" in remark
    assert "upper end of optimizer.lr" in remark
    # The other direction has other best trials.
    assert remarks_on_ends(study(trials, space, "minimize")) == []
    assert remarks_on_ends(study(trials[:5], space)) == []


def test_optuna_is_loaded_for_a_study_with_enough_trials_alone() -> None:
    code = "import sys, augean.report; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
