"""The report is honest, complete and unbreakable: properties over folders of invented runs."""

import csv
import io
import json
import math
import random
import re
import shutil
import statistics as plain
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy
import pandas
import pytest
from matplotlib.figure import Figure
from scipy import stats

from augean.analysis.comparison import estimate, summarise
from augean.analysis.load import scan
from augean.analysis.simultaneous import compare
from augean.analysis.verdict import Verdict
from augean.analysis.welch import largest_miss, safe_level
from augean.errors import AugeanError
from augean.report import ReportResult, load_metrics, load_runs, make_report
from augean.report.escape import latex, markdown
from augean.report.figures.curves import of_all_seeds, scale_loss
from augean.report.figures.plotting import shorten_labels
from augean.report.page import text_environment
from augean.report.tables import interval, number
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir, write_metrics
from augean.store.summary import read_summary, write_summary
from conftest import ROOT
from fake_runs import sign, write_examples, write_record, write_run
from page_data import page_commands


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    outputs = tmp_path_factory.mktemp("example")
    write_examples(outputs)
    return make_report(outputs)


def table(result: ReportResult, name: str) -> dict[str, dict[str, str]]:
    """A table's CSV by row label."""
    with (result.directory / "tables" / f"{name}.csv").open() as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def page(result: ReportResult) -> str:
    return (result.directory / "index.html").read_text()


def seeds(outputs: Path, scores: list[float], row: str = "a", **more: Any) -> list[dict[str, Any]]:
    """One finished run a score, in percent."""
    return [
        write_run(
            outputs,
            seed=seed,
            accuracy=score / 100,
            row=row,
            activation__name=row,
            files=False,
            **more,
        )
        for seed, score in enumerate(scores)
    ]


# Statistics


def test_a_mean_its_spread_and_its_median_time_equal_those_computed_by_hand(tmp_path: Path) -> None:
    jobs = [
        write_run(tmp_path, seed=s, accuracy=a, seconds=t)
        for s, a, t in ((0, 0.9, 3), (1, 0.8, 5), (2, 0.85, 100))
    ]
    write_record(tmp_path, "one", jobs)
    row = table(make_report(tmp_path), "one")["leaky_relu"]
    assert float(row["test_accuracy"]) == pytest.approx(85)
    assert float(row["sd"]) == pytest.approx(5)
    assert float(row["seconds"]) == 5
    assert row["n"] == "3"


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_is_scipys_t_interval(n: int) -> None:
    generator = random.Random(n)
    values = [generator.gauss(90, 2) for _ in range(n)]
    found = estimate(values)
    low, high = stats.t.interval(0.95, n - 1, loc=plain.mean(values), scale=stats.sem(values))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(
        (low, high)
    )


@pytest.mark.parametrize(
    ("scores", "text"), [([99.0, 99.8], "94.32 to 100.00"), ([50.0, 50.2], "± 1.27")]
)
def test_an_interval_that_leaves_0_to_100_percent_is_cut(scores: list[float], text: str) -> None:
    assert interval(estimate(scores)) == text


def test_one_seed_has_a_value_and_no_spread(tmp_path: Path) -> None:
    write_record(
        tmp_path,
        "one",
        [*seeds(tmp_path, [90.0], "a"), *seeds(tmp_path, [80.0, 81.0], "b")],
        baseline="b",
    )
    result = make_report(tmp_path)
    row = table(result, "one")["a"]
    assert (row["n"], row["test_accuracy"], row["half_width_95"], row["sd"]) == ("1", "90", "", "")
    assert row["difference_verdict"] == "undecided at n=1"
    line = next(
        line
        for line in (result.directory / "tables/one.md").read_text().splitlines()
        if line.startswith("| a |")
    )
    assert [cell.strip() for cell in line.split("|")][2:6] == ["1", "90.00", "-", "-"]


def test_tables_of_similar_names_have_links_of_their_own(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [90.0, 91.0], "a")
    names = ["lr_a", "lr-a", "lr.a"]
    for name in names:
        write_record(tmp_path, name, jobs)
    result = make_report(tmp_path)
    assert len(set(re.findall(r'<section id="(table-[^"]+)"', page(result)))) == 3
    labels = set()
    for name in names:
        labels |= set(
            re.findall(r"\\label{.+?}", (result.directory / f"tables/{name}.tex").read_text())
        )
    assert len(labels) == 3


def test_seeds_that_collapsed_to_one_score_have_no_interval() -> None:
    assert math.isnan(estimate([10.0, 10.0, 10.0]).half_width)


def test_the_difference_is_dunnetts_where_variances_are_alike() -> None:
    scores = {
        "base": [90.0, 91.0, 92.0, 90.5],
        "up": [95.0, 96.1, 97.0, 95.5],
        "same": [90.1, 91.2, 91.9, 90.6],
    }
    differences, method = compare(scores, "base", {})
    test = stats.dunnett(
        scores["up"], scores["same"], control=scores["base"], rng=numpy.random.default_rng(0)
    )
    expected = test.confidence_interval(0.95)
    assert method.startswith("Dunnett's test")
    # scipy computes it by random numbers.
    assert differences["up"].low == pytest.approx(expected.low[0], abs=0.01)
    assert differences["same"].high == pytest.approx(expected.high[1], abs=0.01)
    assert differences["base"].verdict is Verdict.BASELINE
    assert differences["up"].verdict is Verdict.BETTER
    assert differences["same"].text == "undecided at n=4"


def test_unequal_variances_are_compared_by_welchs_tests_at_a_safe_level() -> None:
    generator = random.Random(0)
    scores = {
        name: [generator.gauss(90, sd) for _ in range(8)]
        for name, sd in (("base", 0.1), ("x", 5), ("y", 0.1))
    }
    scores["y"] = [value - 3 for value in scores["y"]]
    differences, method = compare(scores, "base", {})
    assert "Welch" in method
    assert "Levene" in method
    for name in ("x", "y"):
        test = stats.ttest_ind(scores[name], scores["base"], equal_var=False)
        bounds = test.confidence_interval(1 - safe_level(0.025, 8, 8))
        interval = (differences[name].low, differences[name].high)
        assert interval == pytest.approx((bounds.low, bounds.high))
        p = min(1.0, 2 * largest_miss(float(test.pvalue), 8, 8))
        assert differences[name].p == pytest.approx(p)
    assert differences["y"].verdict is Verdict.WORSE


def test_a_row_that_has_just_begun_does_not_hide_that_deviations_differ() -> None:
    # The baseline scatters ten times as widely as row a: pooled, a would look well known.
    scores = {"base": [88.0, 90.0, 92.0], "a": [91.9 + 0.05 * seed for seed in range(10)]}
    differences, method = compare(scores, "base", {})
    assert "Welch" in method
    late, method = compare(scores | {"late": [90.0, 90.2]}, "base", {})
    assert "Welch" in method
    assert late["a"].verdict is differences["a"].verdict is Verdict.UNDECIDED


def test_a_small_difference_known_well_is_equivalent() -> None:
    scores = {name: [90 + 0.01 * seed for seed in range(8)] for name in ("base", "same")}
    differences, _ = compare(scores, "base", {}, margin=0.5)
    assert differences["same"].text == "equivalent (±0.5)"


def test_a_diverged_run_lets_no_row_be_better_and_flatters_no_baseline() -> None:
    scores = {
        "base": [80.0, 80.1, 80.2],
        "up": [90.0, 90.1, 90.2],
        "down": [70.0, 70.1, 70.2],
        "flat": [80.0, 80.1, 80.2],
    }
    verdicts = {
        name: item.text
        for name, item in compare(scores, "base", {"up": 1, "down": 1, "flat": 2})[0].items()
    }
    assert verdicts["up"] == "undecided at n=3, 1 diverged"
    assert verdicts["down"] == "worse, 1 diverged"
    assert verdicts["flat"] == "undecided at n=3, 2 diverged"
    verdicts = {name: item.text for name, item in compare(scores, "base", {"base": 1})[0].items()}
    assert verdicts["up"] == "better"
    assert verdicts["down"].startswith("undecided")


@pytest.mark.parametrize("num_rows", [1, 3, 31])
def test_comparisons_without_any_spread_stay_undecided_without_a_warning(num_rows: int) -> None:
    scores = {str(row): [10.0 + row, 10.0 + row] for row in range(num_rows + 1)}
    differences, _ = compare(scores | {"same": [10.0, 10.0]}, "0", {})
    assert differences["1"].text == differences["same"].text == "undecided at n=2"


def test_a_table_without_any_spread_is_reported_without_a_warning(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [90, 90, 90]) + seeds(tmp_path, [91, 91, 91], row="b")
    write_record(tmp_path, "flat", jobs, baseline="a")
    assert table(make_report(tmp_path), "flat")["b"]["difference_verdict"] == "undecided at n=3"


def test_false_verdicts_are_rare_where_all_rows_are_one_distribution() -> None:
    generator, wrong, tables = random.Random(1), 0, 100
    for _ in range(tables):
        scores = {name: [generator.gauss(90, 0.5) for _ in range(5)] for name in "abc"}
        verdicts = {item.verdict for item in compare(scores, "a", {})[0].values()}
        wrong += bool(verdicts & {Verdict.BETTER, Verdict.WORSE})
    assert wrong <= 13  # 5 are expected; more than 13 has a chance below 0.1 %


# What counts


def test_a_seed_counts_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [80.0, 90.0])
    again = write_run(
        tmp_path,
        seed=0,
        accuracy=0.1,
        row="a",
        activation__name="a",
        optimizer__lr=0.2,
        files=False,
    )
    write_record(tmp_path, "one", [*jobs, jobs[0], again])
    result = make_report(tmp_path)
    row = table(result, "one")["a"]
    assert (row["n"], row["test_accuracy"]) == ("2", "85")
    assert "seed 0: several runs" in page(result)


def test_unfinished_runs_enter_no_mean_and_are_counted_by_state(example: ReportResult) -> None:
    rows = table(example, "table4_optimizer")
    assert (rows["rmsprop"]["n"], rows["rmsprop"]["diverged"]) == ("2", "1")
    assert (rows["adamw"]["n"], rows["adamw"]["failed"], rows["adamw"]["missing"]) == (
        "1",
        "1",
        "1",
    )
    assert (rows["lion"]["n"], rows["lion"]["test_accuracy"], rows["lion"]["interrupted"]) == (
        "0",
        "",
        "1",
    )


def test_a_run_that_is_being_trained_is_running(tmp_path: Path) -> None:
    job = write_run(tmp_path, state="interrupted")
    write_record(tmp_path, "one", [job])
    with hold_lock(tmp_path, job["id"], wait=False):
        assert load_runs(tmp_path).state.tolist() == ["running"]
    assert load_runs(tmp_path).state.tolist() == ["interrupted"]


def test_a_copied_directory_is_listed_and_counted_once(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [80.0, 90.0])
    runs = runs_dir(tmp_path)
    shutil.copytree(runs / jobs[0]["run"], runs / "my favourite")
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert (result.num_runs, result.exit_code) == (2, 0)
    assert (
        f"<code>runs/my favourite</code>: a copy of run {jobs[0]['id']}, which is counted once"
        in page(result)
    )
    shutil.rmtree(runs / jobs[0]["run"])  # now the copy is all there is, and counts
    assert table(make_report(tmp_path), "one")["a"]["n"] == "2"


def test_published_numbers_have_their_own_columns(example: ReportResult) -> None:
    row = table(example, "table1_activation")["relu"]
    assert float(row["published_test_accuracy"]) == 81.22
    assert float(row["published_difference"]) == pytest.approx(float(row["test_accuracy"]) - 81.22)
    assert float(row["published_seconds"]) == 1352


def test_published_seconds_have_a_column_where_there_are_some(tmp_path: Path) -> None:
    reference = {"a": {"test_accuracy": 80.0}}
    write_record(tmp_path, "one", seeds(tmp_path, [80.0], "a"), reference=reference)
    text = page(make_report(tmp_path))
    assert "published, %" in text
    assert "published seconds" not in text


def test_tables_of_one_title_are_told_apart_by_what_was_asked_for(tmp_path: Path) -> None:
    for name, overrides in (("one", []), ("one--1", ["width=w8"]), ("other", ["width=w16"])):
        title = "Other" if name == "other" else "Activation"
        write_record(tmp_path, name, seeds(tmp_path, [80.0]), title=title, overrides=overrides)
    result = make_report(tmp_path)
    assert 'Activation <span class="muted">width=w8</span></h2>' in page(result)
    assert "width=w16" not in page(result)
    headings = [
        line
        for line in (result.directory / "report.md").read_text().splitlines()
        if line.startswith("## ")
    ]
    assert headings[:3] == ["## Activation", "## Activation (width=w8)", "## Other"]


def test_a_baseline_that_is_not_there_is_said(tmp_path: Path) -> None:
    write_record(tmp_path, "one", seeds(tmp_path, [80.0, 90.0]), baseline="nothing")
    result = make_report(tmp_path)
    assert "The baseline nothing is not among the rows" in page(result)
    assert table(result, "one")["a"]["difference"] == ""


def test_a_mix_of_devices_is_flagged_and_a_swept_key_is_not(
    example: ReportResult, tmp_path: Path
) -> None:
    assert "Mixed device: cpu (AMD EPYC), threads: 2 (10 runs); NVIDIA H200 (2 runs)." in page(
        example
    )
    jobs = [
        write_run(
            tmp_path,
            trainer__precision=precision,
            row=precision,
            versions={"torch": version},
            files=False,
        )
        for precision, version in (("fp32", "1"), ("bf16", "2"))
    ]
    write_record(tmp_path, "one", jobs, row_key="trainer.precision")
    found = page(make_report(tmp_path))
    assert "Mixed versions: torch 1 (1 run); torch 2 (1 run)." in found
    assert "Mixed trainer.precision" not in found


def test_compiled_runs_beside_others_are_flagged(tmp_path: Path) -> None:
    write_record(tmp_path, "one", seeds(tmp_path, [80.0, 81.0]))
    run = next(runs_dir(tmp_path).iterdir())
    summary = read_summary(run)
    assert summary is not None
    write_summary(run, replace(summary, torch_settings={"runtime.compile": True}))
    found = page(make_report(tmp_path))
    assert "Mixed trainer.precision: " in found
    assert f"{summary.precision}, runtime.compile=true (1 run)" in found


def test_the_epochs_that_a_command_line_sweeps_are_no_mix(tmp_path: Path) -> None:
    jobs = []
    for epochs in (2, 3):
        for seed in (0, 1):
            jobs.append(write_run(tmp_path, epochs=epochs, seed=seed, row=str(epochs), files=False))
    # As a sweep from the command line: its record names no key.
    write_record(tmp_path, "one", jobs)
    assert "Mixed trainer.epochs" not in page(make_report(tmp_path))
    # A table whose rows are something else has one.
    for job in jobs:
        job["row"] = f"of {job['row']}"
    write_record(tmp_path, "one", jobs)
    assert "Mixed trainer.epochs" in page(make_report(tmp_path))


def test_a_loop_without_epochs_is_not_said_to_have_had_0(tmp_path: Path) -> None:
    job = write_run(tmp_path, files=False)
    sign(runs_dir(tmp_path) / job["run"], epochs=0, config={"lr": 0.1}, loop="mine")
    write_record(tmp_path, "one", [job])
    text = (make_report(tmp_path).directory / "tables/one.md").read_text()
    assert "0 epochs" not in text
    assert "10 epochs" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_an_interval_beyond_all_bounds_sorts_as_a_number() -> None:
    script = text_environment().get_template("page.js").render()
    code = (
        f"const document = {{querySelectorAll: () => []}};\n{script}\n"
        'console.log(JSON.stringify(["± >100", "± 0.72", "90 to 100"].map(asNumber)));'
    )
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [100, 0.72, 5]


def test_a_caption_names_data_setting_device_versions_and_n(example: ReportResult) -> None:
    text = (example.directory / "tables/table1_activation.md").read_text()
    for part in (
        "digits (1,197 + 300",
        "10 epochs; batch size 64",
        "cpu (AMD EPYC), threads: 2; fp32",
        "torch 2.14.1",
        "n = 5",
    ):
        assert part in text


def test_a_caption_names_only_the_numbers_of_images_that_are_known(tmp_path: Path) -> None:
    job = write_run(tmp_path, files=False)
    write_record(tmp_path, "one", [job])
    directory = runs_dir(tmp_path) / job["run"]
    for known, text in (
        ({"num_train": None, "num_val": None}, "digits (300 test images, 16x16 pixels);"),
        ({"num_train": 1497, "num_val": 0}, "digits (1,497 training images, 300 test images,"),
        ({"num_train": None, "num_val": None, "num_test": None}, "digits (16x16 pixels);"),
        (
            {"config": {"dataset.image_size": 224, "dataset.arguments.resize": 256}},
            "digits (224x224 pixels cut from 256, bilinear);",
        ),
        ({"num_test": None, "config": {}}, "Data: digits;"),
    ):
        sign(directory, **known)
        table = summarise(scan(tmp_path).sweeps[0])
        assert text in text_environment().get_template("table.md").render(table=table)


# Files and the page


def test_every_promised_file_is_there_and_no_other_figure(example: ReportResult) -> None:
    figures = {path.name for path in (example.directory / "figures").iterdir()}
    stems = ["final_accuracy", "final_loss", "final_time", "final_confusion"]
    stems += [
        f"{name}_{kind}"
        for name in ("table1_activation", "table3_width", "table4_optimizer")
        for kind in ("effects", "curves", "time")
    ]
    stems.append("effects")
    stems += [f"network_digits-resnet18-cifar-c{channels}" for channels in (8, 16, 32)]
    assert figures == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    tables = {path.name for path in (example.directory / "tables").iterdir()}
    # A table without rows has no numbers.
    expected = {"empty.md"}
    for record in ("final", "table1_activation", "table3_width", "table4_optimizer"):
        expected |= {f"{record}.{kind}" for kind in ("csv", "md", "tex")}
    assert tables == expected
    # Three runs are missing: they are counted, and have no line of their own.
    assert len(pandas.read_csv(example.directory / "runs.csv")) == 33
    assert example.num_runs == 36


class Page(HTMLParser):
    """Collects what the page's promises are about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_self_contained_and_usable_without_a_mouse(
    example: ReportResult,
) -> None:
    found = Page(page(example))
    assert found.open == []
    for tag, attributes in found.tags:
        assert "src" not in attributes or str(attributes["src"]).startswith("data:image/")
        assert tag != "link"
        assert tag != "img" or attributes["alt"]
        assert not str(attributes.get("href", "")).startswith(("http", "/"))
    identities = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    jumps = {
        str(attributes["href"])[1:]
        for _, attributes in found.tags
        if str(attributes.get("href", "")).startswith("#")
    }
    assert jumps <= identities
    assert any(tag == "button" for tag, _ in found.tags)


def test_the_page_names_what_fills_a_gap_and_what_makes_a_run_again(example: ReportResult) -> None:
    text = page(example)
    assert "Not finished: 1 interrupted, 1 failed, 3 missing, of 18 runs." in text
    assert "python train.py -cd sweeps -cn table4_optimizer" in text
    runs = load_runs(example.directory.parent)
    commands = page_commands(example.directory)
    assert all(f"runs/{run.directory}" in commands[run.id] for run in runs.itertuples())
    assert str(example.directory) not in (example.directory / "tables/final.tex").read_text()


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> & | $x_1$ \\input{x} `y`"
    job = write_run(tmp_path, row=evil, dataset_title=evil, accuracy=0.9)
    write_record(
        tmp_path,
        "one",
        [job],
        title=evil,
        note=evil,
        command=evil,
        figure=evil,
        reference={evil: {"seconds": 1}},
    )
    result = make_report(tmp_path)
    assert "<script>alert" not in page(result)
    assert page(result).count("<script") == 3  # the runs, the library of the charts, the page's own
    assert Page(page(result)).open == []
    assert "<script>" not in (result.directory / "report.md").read_text()
    source = (result.directory / "tables/one.tex").read_text()
    assert r"\input" not in source
    assert r"\$x\_1\$ \textbackslash{}input\{x\}" in source
    line = (result.directory / "tables/one.md").read_text().splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", "| :-- " * 9 + "|"))


def test_latex_and_markdown_escape_what_would_be_read_as_a_command() -> None:
    assert (
        latex("a_b & 5 % of #1 {x} ~ ^ \\")
        == r"a\_b \& 5 \% of \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert latex("± \u22121") == r"$\pm$ $-$1"
    assert latex("α=0.1 ≤ Λ, Α ✓") == r"$\alpha$=0.1 $\le$ $\Lambda$, A $\surd$"
    assert latex("u\u0308") == "ü"
    assert markdown("a|b *c* <d>\ne") == r"a\|b \*c\* &lt;d&gt; e"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1.234, "\u22121.23"),
        (-0.001, "0.00"),
        (0.5, "+0.50"),
        (math.nan, "-"),
        (None, "-"),
        (1234.5, "+1,234.50"),
    ],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert number(value, signed=True) == text


def test_an_empty_folder_gives_a_page_that_says_how_to_begin(tmp_path: Path) -> None:
    result = make_report(tmp_path)
    assert (result.num_runs, result.problems, result.exit_code) == (0, [], 0)
    for command in (
        "augean train -cn table1_activation experiment=demo",
        "augean train dataset=digits width=w16 trainer.epochs=10 trainer.precision=fp32",
    ):
        assert command in page(result)
    assert Page(page(result)).open == []
    assert len(load_runs(tmp_path)) == len(load_metrics(tmp_path)) == 0


def test_a_folder_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(AugeanError, match="nowhere: no such folder"):
        make_report(tmp_path / "nowhere")


# Hard input


def break_summary(path: Path) -> None:
    file = path / "summary.json"
    file.write_text(file.read_text()[:200])


def foreign_summary(path: Path) -> None:
    (path / "summary.json").write_text('{"accuracy": 1}')


def future_summary(path: Path) -> None:
    sign(path, schema=99)


def binary_summary(path: Path) -> None:
    (path / "summary.json").write_bytes(b"\xff\xfe\x00")


def folder_as_summary(path: Path) -> None:
    (path / "summary.json").unlink()
    (path / "summary.json").mkdir()


@pytest.mark.parametrize(
    "harm", [break_summary, foreign_summary, future_summary, binary_summary, folder_as_summary]
)
def test_an_unreadable_summary_is_listed_and_the_rest_counted(tmp_path: Path, harm: Any) -> None:
    jobs = seeds(tmp_path, [80.0, 90.0, 85.0])
    harm(runs_dir(tmp_path) / jobs[1]["run"])
    write_record(tmp_path, "one", jobs)
    contents = scan(tmp_path)
    assert [problem.path for problem in contents.problems] == [
        f"runs/{jobs[1]['run']}/summary.json"
    ]
    row = summarise(contents.sweeps[0]).rows[0]
    assert (row.accuracy.n, row.states["interrupted"]) == (2, 1)


def test_the_page_lists_each_problem_with_its_path(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    break_summary(runs_dir(tmp_path) / job["run"])
    result = make_report(tmp_path)
    assert result.exit_code == 2
    assert f"runs/{job['run']}/summary.json" in page(result).split('id="problems"')[1]
    assert (
        f"runs/{job['run']}/summary.json: no valid JSON"
        in (result.directory / "report.md").read_text()
    )


@pytest.mark.parametrize("content", ["", "epoch,lr\n1,2\n", None])
def test_unreadable_metrics_cost_the_curve_and_not_the_score(
    tmp_path: Path, content: str | None
) -> None:
    jobs = seeds(tmp_path, [80.0, 90.0])
    file = runs_dir(tmp_path) / jobs[0]["run"] / "metrics.csv"
    file.write_text(file.read_text()[:300] if content is None else content)
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert [problem.path for problem in result.problems] == [f"runs/{jobs[0]['run']}/metrics.csv"]
    assert table(result, "one")["a"]["n"] == "2"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", "[1, 2"),
        ("model.json", '{"modules": [3]}'),
        ("confusion.csv", "true,a,b\na,1\n"),
        ("confusion.csv", ""),
    ],
)
def test_a_rubbish_side_file_is_listed(tmp_path: Path, name: str, content: str) -> None:
    job = write_run(tmp_path)
    (runs_dir(tmp_path) / job["run"] / name).write_text(content)
    write_record(tmp_path, "one", [job])
    result = make_report(tmp_path)
    assert [problem.path for problem in result.problems] == [f"runs/{job['run']}/{name}"]


def test_absent_side_files_are_no_problem(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    for name in ("metrics.csv", "model.json", "confusion.csv", "config.yaml"):
        (runs_dir(tmp_path) / job["run"] / name).unlink()
    write_record(tmp_path, "one", [job])
    result = make_report(tmp_path)
    assert (result.problems, list((result.directory / "figures").iterdir())) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": 99}',
        '{"schema": 1, "name": "x"}',
        "record with row 3",
        "job without seed",
        "reference of words",
    ],
)
def test_a_rubbish_record_is_listed(tmp_path: Path, content: str) -> None:
    write_record(tmp_path, "good", seeds(tmp_path, [80.0]))
    record = json.loads((tmp_path / "sweeps/good.json").read_text())
    changes: dict[str, dict[str, Any]] = {
        "record with row 3": {"jobs": [3]},
        "job without seed": {"jobs": [{**record["jobs"][0], "seed": None}]},
        "reference of words": {"reference": {"a": {"seconds": "long"}}},
    }
    text = json.dumps({**record, **changes[content]}) if content in changes else content
    (tmp_path / "sweeps/bad.json").write_text(text)
    contents = scan(tmp_path)
    assert [problem.path for problem in contents.problems] == ["sweeps/bad.json"]
    assert [sweep.record.name for sweep in contents.sweeps] == ["good"]


def test_a_record_with_numbers_for_names_is_read_as_it_stands(tmp_path: Path) -> None:
    more = {
        "title": 5,
        "row_key": 3,
        "baseline": ["x"],
        "figure": 2,
        "note": {"a": 1},
        "command": None,
    }
    write_record(tmp_path, "odd", seeds(tmp_path, [80.0, 81.0]), **more)
    result = make_report(tmp_path)
    assert (result.problems, table(result, "odd")["a"]["n"]) == ([], "2")


def test_labels_between_powers_of_ten_are_numbers() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_ylim(1.4, 30)
    scale_loss(axes, pandas.DataFrame({"train_loss": [1.0] * 9 + [30.0], "val_loss": [1.0] * 10}))
    figure.savefig(io.BytesIO())
    labels = [label.get_text() for label in axes.get_yticklabels(minor=True)]
    assert axes.get_title() == "cross-entropy loss, log scale"
    assert {"2", "3", "20"} <= set(labels)


@pytest.mark.parametrize("loss", ["inf", "500.0"])
def test_a_loss_out_of_all_bounds_leaves_the_figure_readable(tmp_path: Path, loss: str) -> None:
    job = write_run(tmp_path, files=False)
    path = runs_dir(tmp_path) / job["run"]
    (path / "metrics.csv").write_text(
        re.sub(r"(\n2,0.1,)[^,]+", rf"\g<1>{loss}", (path / "metrics.csv").read_text())
    )
    sign(path)
    write_record(tmp_path, "one", [job])
    result = make_report(tmp_path)
    assert result.problems == []
    labels = re.findall("<!-- (.*) -->", (result.directory / "figures/one_loss.svg").read_text())
    assert ("cross-entropy loss, log scale" in labels) == ("100" in labels) == (loss == "500.0")
    assert not any("$" in label for label in labels)


def test_a_foreign_folder_is_remarked_on_and_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "runs" / "holiday pictures").mkdir(parents=True)
    (tmp_path / "runs" / ".DS_Store").touch()
    result = make_report(tmp_path)
    assert [(problem.path, problem.unreadable) for problem in result.problems] == [
        ("runs/holiday pictures", False)
    ]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "name", ["50 % off & #more", "x" * 220, "-rf", "a\nb", "ünï=1,2", "con:?*", "\udcff"]
)
def test_names_that_no_shell_or_url_likes_give_safe_names_of_files(
    tmp_path: Path, name: str
) -> None:
    jobs = seeds(tmp_path, [80.0], "$HOME; rm -rf ~")
    write_record(tmp_path, name, jobs, row_key="activation.name", title="odd")
    result = make_report(tmp_path)
    assert result.problems == []
    files = [
        path.name
        for folder in ("tables", "figures")
        for path in (result.directory / folder).iterdir()
    ]
    assert len(files) == 9
    assert all(re.fullmatch(r"\w[\w.+=,-]{3,130}", file) for file in files)
    links = re.findall(r'href="([^#"]+)"', page(result))
    assert len(set(links)) == 11  # three of the table, two of each figure, runs.csv and report.md
    assert all((result.directory / unquote(link)).exists() for link in links)
    # quoted for the shell
    assert any("'" in command for command in page_commands(result.directory).values())


def test_names_that_differ_only_in_odd_letters_stay_apart(tmp_path: Path) -> None:
    for name in ("a b", "a&b"):
        write_record(tmp_path, name, seeds(tmp_path, [80.0]))
    assert len(list((make_report(tmp_path).directory / "tables").glob("*.csv"))) == 2


def test_files_of_a_record_that_is_gone_are_removed_and_those_of_others_stay(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        write_record(tmp_path, name, seeds(tmp_path, [80.0, 81.0]))
    folder = make_report(tmp_path).directory
    (folder / "tables" / "one_notes.md").write_text("mine")
    (folder / "figures" / "mine.png").write_text("mine")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    with (folder / ".files").open("a") as file:
        file.write("tables/../../outside\n")
    (tmp_path / "sweeps" / "one.json").unlink()
    make_report(tmp_path)
    left = sorted(path.name for name in ("tables", "figures") for path in (folder / name).iterdir())
    assert left == sorted(
        [f"two.{kind}" for kind in ("csv", "md", "tex")]
        + [f"two_{what}.{kind}" for what in ("accuracy", "loss", "time") for kind in ("png", "svg")]
        + ["mine.png", "one_notes.md"]
    )
    assert outside.exists()


def write_grid(outputs: Path, name: str) -> list[dict[str, Any]]:
    """Write a sweep of two factors and return its jobs, without their columns."""
    jobs = []
    for activation in ("elu", "relu"):
        for lr in (0.1, 0.01):
            row = f"{activation}, {lr}"
            job = write_run(outputs, activation__name=activation, optimizer__lr=lr, row=row)
            jobs.append(job)
    in_columns = [job | {"column": job["row"].split(", ")[1]} for job in jobs]
    key = "activation.name, optimizer.lr"
    write_record(outputs, name, in_columns, row_key=key, column="optimizer.lr")
    return jobs


def test_the_numbers_of_a_figure_go_with_it(tmp_path: Path) -> None:
    jobs = write_grid(tmp_path, "two")
    grid = make_report(tmp_path).directory / "figures" / "two_grid.csv"
    assert grid.exists()
    write_record(tmp_path, "two", jobs)
    make_report(tmp_path)
    assert not grid.exists()


def test_the_numbers_of_a_figure_are_no_table_of_another_sweep(tmp_path: Path) -> None:
    write_grid(tmp_path, "lr")
    write_record(tmp_path, "lr_grid", seeds(tmp_path, [80.0]))
    result = make_report(tmp_path)
    assert table(result, "lr_grid")["a"]["test_accuracy"] == "80"
    grid = pandas.read_csv(result.directory / "figures" / "lr_grid.csv")
    assert list(grid) == ["row", "0.1", "0.01", "mean"]
    assert 'href="figures/lr_grid.csv"' in page(result)


def test_the_heading_of_the_rows_names_groups_and_keys(tmp_path: Path) -> None:
    key = "optimizer.name, regularization.weight_decay, activation.name"
    write_record(tmp_path, "one", seeds(tmp_path, [80.0]), row_key=key)
    heading = "optimizer, regularization.weight_decay, activation"
    assert f"| {heading} | n |" in (make_report(tmp_path).directory / "report.md").read_text()


def test_rows_that_are_bare_numbers_are_named_by_their_key(tmp_path: Path) -> None:
    jobs = []
    for depth in (1, 2):
        for seed in range(2):
            run = write_run(tmp_path, seed=seed, row=str(depth), model__arguments__depth=depth)
            jobs.append(run)
    # As a sweep from the command line: its record names no key.
    write_record(tmp_path, "one", jobs, baseline="1")
    folder = make_report(tmp_path).directory
    text = (folder / "report.md").read_text()
    assert "| model.arguments.depth | n |" in text
    assert "| to depth=1 | its interval |" in text
    for name, title in (
        ("effects", "test accuracy minus that of depth=1, points"),
        ("curves", "model.arguments.depth"),
        ("time", "model.arguments.depth"),
    ):
        words = re.findall(r"<!-- (.*?) -->", (folder / f"figures/one_{name}.svg").read_text())
        assert title in words


def test_means_end_with_the_first_of_a_rows_seeds(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, seed=seed, row="a", epochs=4 + seed) for seed in range(3)]
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert "Where seeds of a row end at different epochs, means end with the first." in page(result)
    metrics = pandas.DataFrame({"row": list("aaab"), "epoch": [1, 1, 2, 1]})
    assert of_all_seeds(metrics).index.tolist() == [0, 1, 3]


def test_long_labels_that_begin_alike_are_cut_in_the_middle() -> None:
    beginning = "augmentation=standard, optimizer.lr="
    labels = [f"{beginning}{rate}" for rate in ("0.1", "0.01", "0.001")]
    short = shorten_labels([*labels, "a label that is too long for its place"], 26)
    assert len(set(short.values())) == 4
    assert all(len(text) <= 26 for text in short.values())
    assert short[labels[0]] == "augmenta…=standard, lr=0.1"
    assert short["a label that is too long for its place"] == "a label that is too long …"


def test_a_long_label_loses_the_group_of_its_key_where_that_is_no_loss() -> None:
    labels = ["base", "regularization.label_smoothing=0.05", "++optimizer.arguments.eps=0.1, x.y=1"]
    short = shorten_labels(labels, 26)
    assert list(short.values()) == ["base", "label_smoothing=0.05", "eps=0.1, y=1"]
    same = shorten_labels(["first.part.of.a.key.eps=0.1", "second.eps=0.1"], 26)
    assert same["second.eps=0.1"] == "second.eps=0.1"


def test_a_single_epoch_is_the_only_tick_and_ends_are_drawn_whole(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, seed=seed, epochs=1, row=str(seed)) for seed in range(2)]
    write_record(tmp_path, "one", jobs)
    figures = make_report(tmp_path).directory / "figures"
    words = re.findall(r"<!-- (.*?) -->", (figures / "one_curves.svg").read_text())
    assert words[: words.index("epoch")] == ["1"]
    # Markers at the edge of the axes are not cut, so only the grid has clips.
    time = (figures / "one_time.svg").read_text()
    lines = re.findall(r'<g clip-path="[^"]*">\s*<use', time)
    assert lines == []


def test_a_row_that_diverged_is_drawn_as_far_as_it_came(tmp_path: Path) -> None:
    good = seeds(tmp_path, [80.0, 81.0], "good")
    lost = [
        write_run(tmp_path, seed=seed, state="diverged", row="lost", activation__name="lost")
        for seed in (0, 1)
    ]
    early = write_run(tmp_path, seed=0, state="diverged", row="early", activation__name="early")
    path = runs_dir(tmp_path) / early["run"]
    write_metrics(path, [])  # broke off in its first epoch
    sign(path)
    write_record(tmp_path, "one", [*good, *lost, early], row_key="activation.name", baseline="good")
    result = make_report(tmp_path)
    assert result.problems == []
    assert "All runs diverged and are drawn up to where they broke off: lost." in page(result)
    assert "Row lost: 2 of 2 runs diverged, so there is no mean." in page(result)
    legend = re.findall("<!-- (.*) -->", (result.directory / "figures/one_curves.svg").read_text())
    assert {"good", "lost"} <= set(legend)
    assert "early" not in legend
    assert table(result, "one")["lost"]["test_accuracy"] == ""


def test_a_row_without_curves_leaves_the_others_theirs(tmp_path: Path) -> None:
    jobs = [*seeds(tmp_path, [80.0], "a"), *seeds(tmp_path, [81.0], "b")]
    (runs_dir(tmp_path) / jobs[1]["run"] / "metrics.csv").unlink()
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert result.problems == []
    assert (result.directory / "figures/one_curves.svg").exists()


def test_networks_that_differ_in_data_or_stem_are_drawn_apart(tmp_path: Path) -> None:
    more = [
        {},
        {"model__stem": "imagenet"},
        {"dataset__name": "cifar10"},
        {"activation__name": "elu"},
    ]
    write_record(
        tmp_path, "one", [write_run(tmp_path, row=str(changes), **changes) for changes in more]
    )
    found = sorted(
        path.stem for path in (make_report(tmp_path).directory / "figures").glob("network_*.png")
    )
    assert found == [
        f"network_{name}-c16"
        for name in ("cifar10-resnet18-cifar", "digits-resnet18-cifar", "digits-resnet18-imagenet")
    ]


def test_networks_that_differ_in_arguments_or_image_size_are_drawn_apart(tmp_path: Path) -> None:
    more: list[dict[str, Any]] = [
        {"model__arguments__blocks": [1, 1]},
        {"model__arguments__blocks": [2, 2, 2]},
        {"model__arguments__blocks": [2, 2, 2], "activation__name": "elu"},
        {"model__name": "vgg", "dataset__image_size": 8},
        {"model__name": "vgg"},
        {"model__name": "other"},
    ]
    write_record(
        tmp_path, "one", [write_run(tmp_path, row=str(changes), **changes) for changes in more]
    )
    result = make_report(tmp_path)
    files = list((result.directory / "figures").glob("network_*.png"))
    names = sorted(path.stem.partition("--")[0] for path in files)
    # A network that no other one can be taken for has no digest in its name.
    assert [path.stem for path in files if "other" in path.stem] == [
        "network_digits-other-cifar-c16"
    ]
    assert names == [
        "network_digits-other-cifar-c16",
        "network_digits-resnet18-cifar-c16",
        "network_digits-resnet18-cifar-c16",
        "network_digits-vgg-cifar-c16",
        "network_digits-vgg-cifar-c16",
    ]
    text = (result.directory / "report.md").read_text().replace("\\", "")
    captions = re.findall(r"Figure \d+ \(\d of 5\)\..*", text)
    for setting in ("blocks=[1, 1]", "blocks=[2, 2, 2]", "image_size=8", "image_size=16"):
        assert sum(setting in caption for caption in captions) == 1


def test_a_report_drawn_by_several_processes_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_record(tmp_path, name, seeds(tmp_path, [80.0, 81.0], f"row {name}"))
    broken = runs_dir(tmp_path) / seeds(tmp_path, [80.0], "row a")[0]["run"] / "confusion.csv"
    broken.write_text("no numbers\n")
    alone = make_report(tmp_path)
    before = {path.name: path.read_bytes() for path in (alone.directory / "figures").iterdir()}
    monkeypatch.setattr("augean.report.write.FEWEST_SHARED", 2)
    shared = make_report(tmp_path)
    assert {
        path.name: path.read_bytes() for path in (shared.directory / "figures").iterdir()
    } == before
    assert shared.problems == alone.problems


# For notebooks and the command line


def test_load_runs_has_one_flat_row_a_run(example: ReportResult) -> None:
    runs = load_runs(example.directory.parent)
    assert runs.id.is_unique
    assert {
        "state",
        "tables",
        "test_accuracy",
        "seconds",
        "optimizer.lr",
        "seed",
        "versions.torch",
    } <= set(runs.columns)
    baseline = runs[
        (runs["activation.name"] == "leaky_relu")
        & (runs["optimizer.name"] == "sgd")
        & (runs.seed == 1)
    ]
    places = "table1_activation/leaky_relu; table3_width/16; table4_optimizer/sgd"
    assert places in baseline.tables.tolist()


def test_load_metrics_reads_what_the_runs_wrote(tmp_path: Path) -> None:
    job = write_run(tmp_path, epochs=4)
    write_run(tmp_path, epochs=4, seed=1, state="interrupted")
    metrics = load_metrics(tmp_path)
    path = runs_dir(tmp_path) / job["run"] / "metrics.csv"
    pandas.testing.assert_frame_equal(
        metrics[metrics.directory == job["run"]].drop(columns="directory").reset_index(drop=True),
        pandas.read_csv(path, dtype=float),
    )
    assert metrics.directory.value_counts().tolist() == [4, 2]


@pytest.mark.parametrize("change", [("\n3,", "\n\n3,"), ("\n3,", '\n"\n3",'), ("\n", "\r")])
def test_odd_lines_in_signed_metrics_shift_no_other_run(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    jobs = [write_run(tmp_path, epochs=4, seed=seed) for seed in range(3)]
    path = runs_dir(tmp_path) / jobs[0]["run"]
    (path / "metrics.csv").write_bytes(
        (path / "metrics.csv").read_text().rstrip("\n").replace(*change).encode()
    )
    sign(path)
    metrics = load_metrics(tmp_path)
    for job in jobs[1:]:
        own = pandas.read_csv(runs_dir(tmp_path) / job["run"] / "metrics.csv", dtype=float)
        rows = (
            metrics[metrics.directory == job["run"]]
            .drop(columns="directory")
            .reset_index(drop=True)
        )
        pandas.testing.assert_frame_equal(rows, own)


@pytest.mark.parametrize(
    ("select", "tables", "num_runs"),
    [
        ("table=table1*", ["table1_activation"], 15),
        ("activation=elu seed=0,1", ["table1_activation"], 2),
        ("regularization.weight_decay=1e-4", ["final"], 1),
        ("state=failed", ["table4_optimizer"], 1),
        ("seed=77", [], 1),
        ("seed=12345", [], 0),
    ],
)
def test_select_keeps_what_it_names(
    example: ReportResult, select: str, tables: list[str], num_runs: int
) -> None:
    contents = scan(example.directory.parent, select)
    assert [sweep.record.name for sweep in contents.sweeps] == tables
    assert len(contents.runs) == num_runs


def test_a_study_is_selected_by_its_name_with_its_trials(tmp_path: Path) -> None:
    write_record(tmp_path, "one", seeds(tmp_path, [80.0]))
    trial = write_run(tmp_path, seed=5) | {"trial": 0, "state": "complete", "score": 0.8}
    write_record(tmp_path, "tune", [trial], kind="study")
    contents = scan(tmp_path, "table=tune")
    assert [sweep.record.name for sweep in contents.sweeps] == ["tune"]
    assert list(contents.runs) == [trial["id"]]


@pytest.mark.parametrize("select", ["optimiser.name=sgd", "sgd"])
def test_a_select_that_cannot_be_understood_names_what_is_close(
    example: ReportResult, select: str
) -> None:
    with pytest.raises(AugeanError, match=re.escape(select)):
        scan(example.directory.parent, select)


def test_a_selected_report_says_so(tmp_path: Path) -> None:
    write_record(tmp_path, "one", [*seeds(tmp_path, [80.0], "a"), *seeds(tmp_path, [81.0], "b")])
    result = make_report(tmp_path, "activation=a")
    assert list(table(result, "one")) == ["a"]
    assert "Only what matches <code>activation=a</code>" in page(result)


@pytest.mark.parametrize("select", [None, "state=finished", "seed=0,1,2"])
def test_a_selection_does_not_hide_what_diverged_runs_forbid(
    tmp_path: Path, select: str | None
) -> None:
    jobs = [*seeds(tmp_path, [80.0, 80.1, 80.2], "base"), *seeds(tmp_path, [90.0, 90.1, 90.2], "a")]
    for seed in range(3, 9):
        jobs.append(write_run(tmp_path, row="a", activation__name="a", seed=seed, state="diverged"))
    write_record(tmp_path, "one", jobs, baseline="base")
    (sweep,) = scan(tmp_path, select).sweeps
    table = summarise(sweep)
    assert table.rows[1].difference.verdict is Verdict.UNDECIDED
    hidden = "Row a: diverged runs that were not selected (6) count against it all the same."
    assert (hidden in table.remarks) == (select is not None)


def test_a_settled_verdict_is_that_of_all_seeds_whatever_is_selected(tmp_path: Path) -> None:
    jobs = [*seeds(tmp_path, [80.0, 80.1, 80.2], "base"), *seeds(tmp_path, [90.0, 90.1, 90.2], "a")]
    design = {"margin": 0.5, "least": 3, "most": 20, "alpha": 0.05, "looks": 18, "seeds": {}}
    write_record(tmp_path, "one", jobs, baseline="base", design=design)
    verdicts = []
    for select in (None, "seed=0"):
        row = summarise(scan(tmp_path, select).sweeps[0]).rows[1]
        verdicts.append(row.difference.text)
    assert verdicts == ["better (settled at n=3)"] * 2


def test_rows_of_the_same_runs_are_not_compared(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [80.0, 80.1, 80.2], "base")
    same = [job | {"row": "same"} for job in jobs]
    write_record(
        tmp_path, "one", [*jobs, *same, *seeds(tmp_path, [90.0, 90.1], "a")], baseline="base"
    )
    result = make_report(tmp_path)
    rows = table(result, "one")
    assert (rows["same"]["difference_verdict"], rows["same"]["difference_low"]) == ("-", "")
    assert rows["a"]["difference_verdict"] == "better"
    assert "Rows same and base share runs, so they are not compared." in page(result)
    (finding,) = result.beginning.findings
    assert finding.text.endswith("; same not compared")


def test_rows_that_share_runs_have_each_their_curves(tmp_path: Path) -> None:
    apart = [*seeds(tmp_path, [80.0, 81.0], "own"), *seeds(tmp_path, [90.0, 91.0], "first")]
    again = [job | {"row": "again"} for job in apart if job["row"] == "first"]
    write_record(tmp_path, "apart", apart)
    write_record(tmp_path, "shared", [*apart, *again])
    figures = make_report(tmp_path).directory / "figures"
    for kind in ("curves", "time"):
        texts = {}
        for name in ("apart", "shared"):
            svg = (figures / f"{name}_{kind}.svg").read_text()
            texts[name] = set(re.findall("<!-- (.*) -->", svg))
        # With the same scales: no epoch's time counts twice.
        assert texts["shared"] == texts["apart"] | {"again"}


def test_a_select_without_a_match_leaves_the_last_report(tmp_path: Path) -> None:
    write_record(tmp_path, "one", seeds(tmp_path, [80.0]))
    before = page(make_report(tmp_path))
    with pytest.raises(AugeanError, match=re.escape("select 'table=on': ")):
        make_report(tmp_path, "table=on")
    assert (tmp_path / "report" / "index.html").read_text() == before


def test_rows_keep_the_order_of_the_sweep(tmp_path: Path) -> None:
    write_record(
        tmp_path, "one", [job for row in ("z", "a", "m") for job in seeds(tmp_path, [80.0], row)]
    )
    assert [row.label for row in summarise(scan(tmp_path).sweeps[0]).rows] == ["z", "a", "m"]


def test_many_rows_are_drawn_in_one_readable_figure(tmp_path: Path) -> None:
    write_record(
        tmp_path,
        "many",
        [job for row in range(40) for job in seeds(tmp_path, [80.0 + row / 10], f"_{row}")],
    )
    result = make_report(tmp_path)
    assert "Grey: 33 further rows of lower validation accuracy" in page(result)


def test_runs_without_a_validation_split_are_reported(tmp_path: Path) -> None:
    jobs = seeds(tmp_path, [80.0, 81.0])
    for job in jobs:
        path = runs_dir(tmp_path) / job["run"]
        rows = pandas.read_csv(path / "metrics.csv").assign(val_loss=None, val_accuracy=None)
        write_metrics(
            path,
            [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")],
        )
        sign(path, num_val=0, val_accuracy=None, val_loss=None)
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert result.problems == []
    assert table(result, "one")["a"]["val_accuracy"] == ""
    assert "weights of the last epoch" in page(result)
    assert not (result.directory / "figures/one_time.png").exists()


def test_a_confusion_matrix_names_the_validation_that_chose_its_run(tmp_path: Path) -> None:
    words = "the one with the best validation accuracy"
    job = write_run(tmp_path)
    write_record(tmp_path, "one", [job])
    assert words in page(make_report(tmp_path))
    sign(runs_dir(tmp_path) / job["run"], num_val=0, val_accuracy=None, val_loss=None)
    found = page(make_report(tmp_path))
    assert "Confusion matrix on the test set" in found
    assert words not in found


def test_the_same_runs_give_the_same_figures(tmp_path: Path) -> None:
    write_record(tmp_path, "one", seeds(tmp_path, [80.0, 81.0]))
    figures = make_report(tmp_path).directory / "figures"
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    make_report(tmp_path)
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == before


def test_the_examples_for_notebooks_run_as_they_stand(
    example: ReportResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.directory.parent.parent)
    (example.directory.parent.parent / "outputs").symlink_to(example.directory.parent)
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / "notebook.md").read_text(), re.DOTALL
    )
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 3
    assert names["scores"].loc["sgd", "count"] > 3
    assert {"row", "val_accuracy"} <= set(names["curves"].columns)
    assert names["few"].state.unique().tolist() == ["finished"]


def test_the_report_loads_neither_torch_nor_hydra() -> None:
    heavy = {"torch", "hydra", "sklearn"}
    code = f"import sys, augean.report; print(sorted({heavy} & sys.modules.keys()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
