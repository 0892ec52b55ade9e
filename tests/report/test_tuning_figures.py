"""Studies in the report: the expected best score, and that trials are no rows of a table."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas
import pytest

from augean.report import make_report
from augean.report.figures.tuning import expected_best
from augean.store.sweep_record import SweepRecord
from fake_runs import trial_job


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [3.0, 1.0, 2.0, 2.5]
    for budget, value in enumerate(expected_best(scores), start=1):
        draws = [max(draw) for draw in product(scores, repeat=budget)]
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
    assert "| trial 0" not in text
    assert [path.name for path in (result.directory / "tables").glob("sgd*")] == ["sgd.md"]


def test_a_study_names_the_values_of_its_best_trial_and_of_trial_0(tmp_path: Path) -> None:
    values = [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.0123456, "activation": "elu"}]
    write_study(tmp_path, values, space={"optimizer.lr": "interval(0,1)"})
    result = make_report(tmp_path)
    (finding,) = result.beginning.findings
    assert finding.text == "a study of 2 trials; best validation accuracy 51.00% by trial 1"
    text = (result.directory / "report.md").read_text()
    assert "| 1 (best) | 51.00 | 0.01235 | elu |\n| 0 | 50.00 | 0.1 | - |" in text
    page = (result.directory / "index.html").read_text()
    assert '<th scope="row">1 (best)</th><td class="number">51.00</td>' in page
    trials = pandas.read_csv(result.directory / "figures" / "s_slices.csv")
    assert trials["optimizer.lr"].tolist() == [0.1, 0.0123456]
    assert trials.val_accuracy.tolist() == [50.0, 51.0]


def test_the_best_trial_is_the_confirmed_one(tmp_path: Path) -> None:
    jobs = [
        trial_job(0, 0.9, values={"a": 1}, confirmed_score=0.7),
        trial_job(1, 0.8, values={"a": 2}, confirmed_score=0.75),
    ]
    write_study(tmp_path, [], jobs=jobs, num_trials=2, confirm={"top": 2, "seeds": 3})
    text = (make_report(tmp_path).directory / "report.md").read_text()
    assert "| 1 (best) | 80.00 | 75.00 | 2 |\n| 0 | 90.00 | 70.00 | 1 |" in text


def test_a_study_that_only_began_says_how_far_it_is(tmp_path: Path) -> None:
    jobs = [trial_job(0, None, "running"), trial_job(1, None, "fail")]
    write_study(tmp_path, [], jobs=jobs, num_trials=8)
    (finding,) = make_report(tmp_path).beginning.findings
    assert finding.text == "a study with 0 of 8 trials finished, 1 failed"


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


def test_small_numbers_of_a_custom_space_have_no_common_factor(tmp_path: Path) -> None:
    values = [{"eps": 6.4e-7}, {"eps": 7.1e-7}, {"eps": 8.3e-7}]
    write_study(tmp_path, values, space={"further values": "of mine.spaces.by_optimizer"})
    words = words_of(make_report(tmp_path).directory / "figures" / "s_slices.svg")
    assert "7e-7" in words
    # Not "1e-7" beside the axis.
    assert words.index("eps") > words.index("7e-7")
    assert not [word for word in words if word.startswith("1e")]


def test_rates_of_a_custom_space_have_a_logarithmic_axis(tmp_path: Path) -> None:
    values = [{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.53}]
    write_study(tmp_path, values, space={"further values": "of mine.spaces.by_optimizer"})
    words = words_of(make_report(tmp_path).directory / "figures" / "s_slices.svg")
    assert words[: words.index("lr")] == ["0.01", "0.1"]


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
