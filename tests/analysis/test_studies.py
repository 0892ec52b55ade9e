"""What is learned from a study, from its record alone: importance, and ends of ranges."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import importance as bench
import numpy
import pandas
import pytest

from augean.analysis.studies import (
    FEWEST_TRIALS,
    Range,
    importances,
    range_of,
    remarks_on_ends,
    searched_range,
    without_repeated_trials,
)
from augean.store.sweep_record import SweepRecord
from conftest import ROOT
from fake_runs import trial_job


def study(
    trials: list[tuple[float | None, dict[str, Any]]],
    space: dict[str, str],
) -> SweepRecord:
    """Return a study of trials with these scores and values; without a score one has failed."""
    jobs = []
    for number, (score, values) in enumerate(trials):
        state = "fail" if score is None else "complete"
        jobs.append(trial_job(number, score, state, values=values))
    return SweepRecord(
        name="s", title="S", command="again", created="now", jobs=jobs, kind="study",
        space=space,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("interval(0.0, 0.98)", Range(0.0, 0.98, is_log=False)),
        ("tag(log, interval(1e-3, 1.0))", Range(1e-3, 1.0, is_log=True)),
        ("int(interval(1,8))", Range(1, 8, is_log=False)),
        ("interval(start=1, end=2)", Range(1, 2, is_log=False)),
        ("relu,elu", None),
        ("range(1,5)", Range(1, 4, is_log=False, step=1)),
        ("range(8, 33, 8)", Range(8, 32, is_log=False, step=8)),
        ("range(5)", Range(0, 4, is_log=False, step=1)),
        ("range(start=1,stop=6,step=2)", Range(1, 5, is_log=False, step=2)),
        ("range(5,1,-1)", Range(2, 5, is_log=False, step=1)),
        ("range(1,5,0)", None),
        ("range(1,inf)", None),
        ("range(step=2,start=1)", None),
        ("8,16,128", None),
        ("interval(2,1)", None),
        ("interval(0,inf)", None),
        ("tag(log,interval(0,1))", None),
        ("interval(a,b)", None),
        # Without room for the margins of an axis, or without room between the ends.
        ("tag(log,interval(1e-320,1e308))", None),
        ("interval(0,1e308)", None),
        ("interval(0.5,0.5000000000000001)", None),
    ],
)
def test_ranges_are_read_as_they_were_typed(text: str, searched: Range | None) -> None:
    assert searched_range(text) == searched


def test_numbers_without_a_range_that_can_be_drawn_have_their_own() -> None:
    near = Range(1, 10, is_log=False, is_recorded=False)
    assert range_of(None, [3, 10, 1]) == near
    assert range_of("interval(0,1e308)", [3, 10, 1]) == near
    assert range_of(None, [1e-4, 1.0]) == Range(1e-4, 1.0, is_log=True, is_recorded=False)
    # Typed numbers are choices, and no axis has these values.
    assert range_of("1,3,10", [3, 10, 1]) is None
    for values in ([1, 1], [1, True], [1, "1"], [1, float("nan")], [0, 10**400], [0, 1e300]):
        assert range_of(None, values) is None


def test_positions_are_on_the_scale_that_was_searched() -> None:
    assert Range(1e-4, 1.0, is_log=True).position(1e-2) == pytest.approx(0.5)
    assert Range(0.0, 4.0, is_log=False).position(1.0) == 0.25
    assert Range(1e-4, 1.0, is_log=True).position(0.0) == 0.0  # the default lies outside


def test_the_parameter_that_decides_is_the_most_important() -> None:
    generator = bench.numpy.random.default_rng(1)
    shares = importances(bench.simulate_study(40, generator))
    assert max(shares, key=shares.__getitem__) == "optimizer.lr"
    assert sum(shares.values()) == pytest.approx(1.0)


def test_few_trials_have_no_importance() -> None:
    generator = bench.numpy.random.default_rng(1)
    assert importances(bench.simulate_study(FEWEST_TRIALS - 1, generator)) == {}


def test_values_of_any_kind_have_an_importance() -> None:
    values: list[dict[str, Any]] = [
        {"a": None, "b": 0.0},  # the default: outside the range of b
        {"a": [3, 3], "b": 0.1},
        {"a": True, "b": 1.0},
    ]
    trials: list[tuple[float | None, dict[str, Any]]] = []
    for number in range(15):
        trials.append((0.5 + number / 100, values[number % 3]))
    trials.append((None, values[0]))
    record = study(trials, {"a": "null,[3,3],true", "b": "tag(log,interval(0.1,1))"})
    assert importances(record).keys() == {"a", "b"}


def test_values_without_a_recorded_range_leave_a_study_without_importances() -> None:
    record = bench.simulate_study(40, bench.numpy.random.default_rng(1))
    assert importances(record)
    space = {key: text for key, text in record.space.items() if key != "optimizer.momentum"}
    assert importances(replace(record, space=space)) == {}


def test_a_range_of_steps_has_an_importance_as_a_range_has() -> None:
    generator = numpy.random.default_rng(0)
    trials: list[tuple[float | None, dict[str, Any]]] = []
    for number in range(40):
        values = {"a": number, "junk": int(generator.integers(0, 1000))}
        trials.append((number / 100, values))
    shares = importances(study(trials, {"a": "range(40)", "junk": "range(1000)"}))
    assert max(shares, key=shares.__getitem__) == "a"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_equal", [14, 10])
def test_a_score_that_most_trials_share_gives_no_importance(num_equal: int) -> None:
    trials: list[tuple[float | None, dict[str, Any]]] = []
    for number in range(14):
        score = 0.5 if number < num_equal else 0.4
        trials.append((score, {"a": number / 14, "b": number % 2}))
    assert importances(study(trials, {"a": "interval(0,1)", "b": "0,1"})) == {}


def test_docs_give_the_measured_reliability() -> None:
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
    assert remarks_on_ends(study(trials[:5], space)) == []


@pytest.mark.parametrize(("text", "num_remarks"), [("range(1,4)", 0), ("range(1,5)", 1)])
def test_ends_of_a_few_steps_are_reached_by_chance(text: str, num_remarks: int) -> None:
    trials: list[tuple[float | None, dict[str, Any]]] = [(0.9, {"a": 1})] * 3 + [
        (0.8, {"a": 2})
    ] * 3
    assert len(remarks_on_ends(study(trials, {"a": text}))) == num_remarks


def test_optuna_is_loaded_for_a_study_with_enough_trials_alone() -> None:
    code = "import sys, augean.report; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_trial_that_was_queued_again_is_no_failure() -> None:
    record = study([(None, {"a": 1}), (None, {"a": 2}), (0.5, {"a": 1})], space={})
    # The first trial ended with its worker; the third has the same values, and so the same run.
    stopped, failed, again = record.jobs
    record = replace(record, jobs=[replace(stopped, id=again.id), failed, again])
    assert [job.trial for job in without_repeated_trials(record).jobs] == [1, 2]
