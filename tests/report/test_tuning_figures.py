"""Studies in the report: the expected best score, and that trials are no rows of a table."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas
import pytest

from augean.report import make_report
from augean.report.tuning_figures import expected_best
from augean.store.direction import Direction
from augean.store.sweep_record import SweepRecord
from fake_runs import trial_job


@pytest.mark.parametrize(("direction", "best"), [("maximize", max), ("minimize", min)])
def test_the_expected_best_is_the_mean_over_all_draws(
    direction: Direction, best: Callable[[Sequence[float]], float]
) -> None:
    scores = [3.0, 1.0, 2.0, 2.5]
    for budget, value in enumerate(expected_best(scores, direction), start=1):
        draws = [best(draw) for draw in product(scores, repeat=budget)]
        assert value == pytest.approx(sum(draws) / len(draws))


def study(name: str, scores: list[float | None]) -> SweepRecord:
    jobs = [
        trial_job(number, score, "pruned" if score is None else "complete")
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
    assert [path.name for path in (result.directory / "tables").glob("sgd*")] == ["sgd.md"]


def test_trials_are_drawn_by_parameter_and_ends_are_remarked_on(tmp_path: Path) -> None:
    jobs = []
    for number in range(14):
        state = {2: "pruned", 5: "fail", 6: "running"}.get(number, "complete")
        score = 0.9 - 0.02 * number if state in ("complete", "pruned") else None
        values = {"optimizer.lr": 10 ** (-number / 60), "activation": ["relu", "elu"][number % 2]}
        jobs.append(trial_job(number, score, state, values=values))
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


def write_study(outputs: Path, values: list[dict[str, Any]], **changes: Any) -> None:
    """Write a study with a complete trial for each of these values, the last one the best."""
    jobs = []
    for number, own in enumerate(values):
        jobs.append(trial_job(number, 0.5 + number / 100, values=own))
    record = SweepRecord(
        name="s", title="Tuning", command="again", created="now", jobs=jobs, kind="study",
        num_trials=len(jobs),
    )  # fmt: skip
    replace(record, **changes).write(outputs)


def words_of(figure: Path) -> list[str]:
    """Return the texts of a figure, in the order in which they were drawn."""
    return re.findall(r"<!-- (.*?) -->", figure.read_text())


@pytest.mark.parametrize("text", ["8,16,128", "range(8,129,8)"])
def test_numbers_are_in_numeric_order_on_the_axis(tmp_path: Path, text: str) -> None:
    values = [{"width.channels": number} for number in (128, 8, 16)]
    write_study(tmp_path, values, space={"width.channels": text})
    words = words_of(make_report(tmp_path).directory / "figures" / "s_slices.svg")
    ticks = [float(word) for word in words[: words.index("width.channels")]]
    assert ticks == sorted(ticks)
    assert len(ticks) >= 3


@pytest.mark.parametrize("num_trials", [4, 14])
def test_numbers_of_a_custom_space_are_drawn_on_an_axis_without_importance(
    tmp_path: Path, num_trials: int
) -> None:
    values = []
    for number in range(num_trials):
        values.append({"activation": "elu", "optimizer.lr": 2 * 10.0**-number})
    space = {"activation": "relu,elu", "further values": "of mine.spaces.by_optimizer"}
    write_study(tmp_path, values, space=space)
    result = make_report(tmp_path)
    words = words_of(result.directory / "figures" / "s_slices.svg")
    assert {"activation", "optimizer.lr"} <= set(words)
    # On an axis the ticks are powers of ten, not the values.
    assert "0.2" not in words
    text = (result.directory / "report.md").read_text()
    assert "No importance" in text
    assert "PED-ANOVA" not in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ends", ["1e-320,1e308", "0.5,0.5000000000000001"])
@pytest.mark.parametrize("form", ["interval({})", "tag(log,interval({}))", "range({})"])
def test_a_range_that_no_axis_can_show_does_not_stop_the_report(
    tmp_path: Path, ends: str, form: str
) -> None:
    values = [{"a": 10.0**number} for number in range(14)]
    write_study(tmp_path, values, space={"a": form.format(ends)})
    result = make_report(tmp_path)
    assert result.problems == []
    assert (result.directory / "figures" / "s_slices.svg").exists()


def test_the_caption_counts_the_trials_that_were_done(tmp_path: Path) -> None:
    write_study(tmp_path, [{"a": 0.1}] * 3, space={"a": "interval(0,1)"}, num_trials=2)
    assert "3 trials, over a" in (make_report(tmp_path).directory / "report.md").read_text()


@pytest.mark.parametrize("title", ["Tuning", "Tuning of a network whose name has many words"])
def test_studies_of_one_title_are_told_apart_in_the_legend(tmp_path: Path, title: str) -> None:
    for name in ("small", "large"):
        replace(study(name, [0.5, 0.9]), title=title).write(tmp_path)
    SweepRecord(
        name="both", title="Both", command="again", created="now", jobs=[],
        studies=["small", "large"],
    ).write(tmp_path)  # fmt: skip
    folder = make_report(tmp_path).directory
    words = words_of(folder / "figures" / "both_tuning.svg")
    for name in ("small", "large"):
        (label,) = [word for word in words if name in word]
        assert label.endswith(f"({name})")
        assert len(label) <= 36
        assert f"{title} ({name}): 2 trials" in (folder / "report.md").read_text()
