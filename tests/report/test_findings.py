"""A report begins with one line a table: what is decided, what is not, what it would take."""

import re
from argparse import Namespace
from pathlib import Path

import numpy
import pytest

from augean.analysis.comparison import summarise
from augean.analysis.load import scan
from augean.analysis.outlook import outlook
from augean.analysis.simultaneous import compare
from augean.analysis.verdict import Verdict
from augean.cli.report import run_report
from augean.report import make_report
from augean.report.findings import make_findings
from fake_runs import write_record, write_run, write_scores


def scores(mean: float, deviation: float, n: int) -> list[float]:
    """Return `n` values of exactly that mean and deviation."""
    values = numpy.linspace(-1, 1, n)
    return list(mean + deviation * values / values.std(ddof=1))


def text_of(outputs: Path) -> str:
    tables = [summarise(sweep) for sweep in scan(outputs).sweeps]
    return make_findings(tables)[0].text


def test_the_line_has_each_verdict_with_its_difference_and_interval(tmp_path: Path) -> None:
    rows = {
        "base": scores(70, 0.4, 5),
        "up": scores(75, 0.4, 5),
        "down": scores(60, 0.4, 5),
        "open": scores(70.4, 0.4, 5),
    }
    write_scores(tmp_path, rows)
    up, down, undecided = text_of(tmp_path).split("; ")
    assert up.startswith("up better than base by 5.00 ± 0.")
    assert down.startswith("down worse than base by 10.00 ± 0.")
    assert undecided.startswith("open undecided (about ")
    assert undecided.endswith(" more runs)")


@pytest.mark.parametrize("distance", [0.0, 0.4, 1.5])
def test_so_many_more_runs_decide_where_means_and_deviations_stay(
    tmp_path: Path, distance: float
) -> None:
    write_scores(tmp_path, {"base": scores(70, 1.0, 3), "open": scores(70 + distance, 1.0, 3)})
    table = summarise(scan(tmp_path).sweeps[0])
    needed = outlook(table).num_runs
    seeds = 3 + needed // 2  # both rows need as many
    assert needed > 0
    longer = {"base": scores(70, 1.0, seeds), "open": scores(70 + distance, 1.0, seeds)}
    assert compare(longer, "base", {})[0]["open"].verdict is not Verdict.UNDECIDED
    shorter = {name: scores(float(numpy.mean(longer[name])), 1.0, seeds - 1) for name in longer}
    assert compare(shorter, "base", {})[0]["open"].verdict is Verdict.UNDECIDED


def test_further_runs_leave_all_rows_with_equally_many_seeds(tmp_path: Path) -> None:
    means = {"base": 70, "open": 71.5, "low": 67}
    write_scores(tmp_path, {row: scores(mean, 1.0, 3) for row, mean in means.items()})
    table = summarise(scan(tmp_path).sweeps[0])
    verdicts = {row.label: row.difference.verdict for row in table.rows}
    assert verdicts["open"] is Verdict.UNDECIDED
    assert verdicts["low"] is Verdict.WORSE
    needed = outlook(table).num_runs
    assert needed % len(means) == 0
    longer = {row: scores(mean, 1.0, 3 + needed // 3) for row, mean in means.items()}
    differences, _ = compare(longer, "base", {})
    assert differences["open"].verdict is Verdict.BETTER
    assert differences["low"].verdict is Verdict.WORSE


def test_a_difference_at_the_margin_is_named_as_one_that_seeds_will_not_decide(
    tmp_path: Path,
) -> None:
    write_scores(tmp_path, {"base": scores(70, 9.0, 3), "open": scores(70.5, 9.0, 3)})
    assert text_of(tmp_path) == "open undecided (probably even at n=400)"


def test_rows_of_one_seed_are_asked_for_more_seeds(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [70.0], "open": [75.0]})
    assert text_of(tmp_path) == "open undecided (3 seeds a row at least for open and base)"


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ({"base": [70.0], "relu": [75.0, 75.5, 76.0], "elu": [60.0, 60.5, 61.0]}, ["base"]),
        ({"base": [70.0], "relu": [75.0], "elu": [60.0, 60.5]}, ["relu", "base"]),
        ({"base": [70.0, 70.5], "relu": [75.0], "elu": [70.0, 70.4]}, ["relu"]),
    ],
)
def test_only_rows_that_lack_seeds_are_asked_for_more(
    tmp_path: Path, rows: dict[str, list[float]], names: list[str]
) -> None:
    write_scores(tmp_path, rows)
    assert outlook(summarise(scan(tmp_path).sweeps[0])).single == names


def test_many_rows_stay_one_short_line(tmp_path: Path) -> None:
    rows = {f"row {index}, x": scores(60 + index, 0.1, 4) for index in range(20)}
    write_scores(tmp_path, {"base": scores(50, 0.1, 4), **rows})
    assert text_of(tmp_path).startswith("20 rows better than base, most “row 19, x” by 29.00 ± 0.")
    assert len(text_of(tmp_path)) < 90


def test_tables_without_a_comparison_say_why(tmp_path: Path) -> None:
    write_scores(tmp_path, {"a": [70.0, 71.0], "b": [72.0, 73.0]}, baseline=None)
    assert "there is no baseline" in text_of(tmp_path)
    write_scores(tmp_path, {"a": [70.0, 71.0], "b": [72.0, 73.0]}, baseline="c")
    assert text_of(tmp_path) == "nothing is compared, as the baseline c is not among the rows"


def test_a_baseline_without_a_score_is_named(tmp_path: Path) -> None:
    done = [write_run(tmp_path, row="a", seed=seed, files=False) for seed in (0, 1)]
    left = write_run(tmp_path, row="base", state="missing", activation__name="base")
    write_record(tmp_path, "one", [*done, left], baseline="base")
    line = "nothing is compared, as the baseline base has no score yet; 1 of 3 runs not finished"
    assert text_of(tmp_path) == line


def test_runs_that_all_diverged_are_no_runs_that_are_not_finished_yet(tmp_path: Path) -> None:
    diverged = []
    for row in ("base", "a"):
        job = write_run(tmp_path, row=row, activation__name=row, state="diverged", files=False)
        diverged.append(job)
    write_record(tmp_path, "one", diverged, baseline="base")
    folder = make_report(tmp_path).directory
    assert text_of(tmp_path) == "all runs diverged"
    for name in ("tables/one.md", "tables/one.tex"):
        text = (folder / name).read_text()
        assert "All runs of this table diverged" in text
        assert "yet" not in text
    done = [write_run(tmp_path, row="a", seed=seed, files=False) for seed in (0, 1)]
    write_record(tmp_path, "one", [*done, diverged[0]], baseline="base")
    line = "nothing is compared, as the baseline base diverged in all its runs"
    assert text_of(tmp_path) == line


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (71.0, "a undecided (a as the means lie now, as runs diverged)"),
        (69.0, "a undecided (about"),
    ],
)
def test_a_row_with_diverged_runs_may_still_prove_worse(
    tmp_path: Path, mean: float, text: str
) -> None:
    jobs = []
    for row, values in {"base": scores(70, 1.0, 3), "a": scores(mean, 1.0, 3)}.items():
        for seed, value in enumerate(values):
            jobs.append(
                write_run(
                    tmp_path,
                    row=row,
                    seed=seed,
                    accuracy=value / 100,
                    activation__name=row,
                    files=False,
                )
            )
    jobs.append(write_run(tmp_path, row="a", seed=9, activation__name="a", state="diverged"))
    write_record(tmp_path, "one", jobs, baseline="base")
    assert text_of(tmp_path).startswith(text)


def test_runs_that_are_not_finished_are_counted(tmp_path: Path) -> None:
    done = [write_run(tmp_path, row="a", seed=seed, files=False) for seed in (0, 1)]
    left = write_run(tmp_path, row="b", state="missing", activation__name="b")
    write_record(tmp_path, "one", [*done, left], baseline="a")
    assert text_of(tmp_path) == "b not compared: no score; 1 of 3 runs not finished"
    # A settled table says the same of a row without any score.
    design = {"margin": 0.5, "least": 3, "most": 20, "alpha": 0.05, "looks": 18, "seeds": {}}
    write_record(tmp_path, "one", [*done, left], baseline="a", design=design)
    assert text_of(tmp_path) == "b not compared: no score; 1 of 3 runs not finished"


def test_the_terminal_the_page_and_the_summary_begin_with_the_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(tmp_path, {"base": scores(70, 0.4, 5), "up": scores(75, 0.4, 5)})
    line = text_of(tmp_path)
    assert run_report(Namespace(outputs=tmp_path, select=None, json=False)) == 0
    assert capsys.readouterr().out.startswith(f"Activation: {line}.\n")
    summary = (tmp_path / "report" / "report.md").read_text()
    assert summary.index(f"**Activation**: {line}.") < summary.index("## Activation")
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.index(line) < page.index("<nav") < page.index("<h2>")


def test_tables_of_one_title_are_told_apart_by_what_was_asked_for(tmp_path: Path) -> None:
    for name, overrides in (("one", []), ("two", ["width=w8"])):
        job = write_run(tmp_path, files=False)
        write_record(tmp_path, name, [job], title="Same", overrides=overrides)
    titles = [finding.title for finding in make_report(tmp_path).beginning.findings]
    assert titles == ["Same", "Same (width=w8)"]


def test_tables_that_were_asked_for_alike_are_told_apart_by_their_names(tmp_path: Path) -> None:
    for name, overrides in (("one", ["width=w8"]), ("two", ["width=w8"]), ("three", [])):
        rows = []
        for activation in ("relu", "elu"):
            rows.append(write_run(tmp_path, row=activation, activation__name=activation))
        write_record(
            tmp_path, name, rows, title="Same", overrides=overrides, row_key="activation.name",
            baseline="relu",
        )  # fmt: skip
    folder = make_report(tmp_path).directory
    summary = (folder / "report.md").read_text()
    figure = (folder / "figures" / "effects.svg").read_text()
    for title in ("Same (one)", "Same", "Same (two)"):
        assert f"**{title}**" in summary
        assert f"## {title}\n" in summary
        assert f"<!-- {title} (to relu) -->" in figure
    page = (folder / "index.html").read_text()
    headings = re.findall(r"<h2>(Same.*?)</h2>", page)
    assert len(set(headings)) == len(headings) == 3
    assert any("one" in heading for heading in headings)
