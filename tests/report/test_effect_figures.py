"""Effects are drawn for every comparison, numbered with the other figures, and follow the theme."""

import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from augean.report import ReportResult, make_report
from augean.report.page_svg import DARK
from fake_runs import write_examples, write_record, write_run, write_scores


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    outputs = tmp_path_factory.mktemp("example")
    write_examples(outputs)
    return make_report(outputs)


def page(result: ReportResult) -> str:
    return (result.directory / "index.html").read_text()


def texts(result: ReportResult, name: str) -> list[str]:
    """Return the texts of a figure, which matplotlib keeps as comments."""
    svg = (result.directory / "figures" / f"{name}.svg").read_text()
    return re.findall(r"<!-- (.*?) -->", svg)


def test_every_row_but_the_baseline_has_its_difference_in_the_figure(example: ReportResult) -> None:
    drawn = texts(example, "table1_activation_effects")
    assert {"relu", "elu"} <= set(drawn)
    assert "leaky_relu" not in drawn
    assert any(text.startswith("+0.28 ± ") for text in drawn)
    assert "worse" in drawn


def test_all_tables_with_a_comparison_are_together_in_one_figure(example: ReportResult) -> None:
    drawn = texts(example, "effects")
    titles = [text for text in drawn if " (to " in text]
    assert [title.partition(" (to ")[0] for title in titles] == [
        "Table 1: activation",
        "Table 3: channels C",
        "Table 4: optimizer",
    ]


@pytest.mark.parametrize(
    ("rows", "baseline"), [({"a": [80.0, 81.0]}, "a"), ({"a": [80.0], "b": [81.0]}, None)]
)
def test_nothing_is_drawn_where_nothing_is_compared(
    tmp_path: Path, rows: dict[str, list[float]], baseline: str | None
) -> None:
    write_scores(tmp_path, rows, baseline=baseline)
    folder = make_report(tmp_path).directory / "figures"
    assert list(folder.glob("*effects*")) == []


def test_a_row_of_wide_interval_does_not_hide_the_others(tmp_path: Path) -> None:
    close = {f"row {number}": [80.0 + number, 80.2 + number, 80.1 + number] for number in range(5)}
    rows = {"base": [80.0, 80.3, 80.1], "wild": [40.0, 80.0, 99.0]}
    write_scores(tmp_path, rows | close, baseline="base")
    ticks = [
        float(text.replace("−", "-"))
        for text in texts(make_report(tmp_path), "one_effects")
        if re.fullmatch(r"−?\d+", text)
    ]
    assert max(ticks) - min(ticks) < 60


def test_a_table_of_many_rows_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    rows = {f"row {number}": [80.0 + number / 9, 80.1] for number in range(30)}
    write_scores(tmp_path, {"base": [80.0, 80.2]} | rows, baseline="base")
    assert "20 rows left out" in page(make_report(tmp_path))


def test_a_long_title_leaves_the_baseline_readable(tmp_path: Path) -> None:
    jobs = []
    for row in ("sgd, 0, never", "adam, 0, never"):
        for seed in (0, 1):
            jobs.append(write_run(tmp_path, row=row, optimizer__name=row, seed=seed, files=False))
    for name in ("one", "two"):
        write_record(tmp_path, name, jobs, baseline="sgd, 0, never", title="long " * 20)
    titles = [text for text in texts(make_report(tmp_path), "effects") if "long" in text]
    assert len(titles) == 2
    assert all(text.endswith("… (to sgd, 0, never)") for text in titles)


def test_figures_are_numbered_once_through_and_the_networks_are_one(example: ReportResult) -> None:
    numbers = re.findall(r"<figcaption>Figure (\d+)( \(\d of \d\))?\.", page(example))
    own = [int(number) for number, part in numbers if not part]
    assert own == list(range(1, len(own) + 1))
    assert {number for number, part in numbers if part} == {str(len(own) + 1)}
    summary = (example.directory / "report.md").read_text()
    assert len(re.findall(r"^Figure \d", summary, re.MULTILINE)) == len(numbers)


def test_what_all_figures_share_stands_once(example: ReportResult) -> None:
    for text in (page(example), (example.directory / "report.md").read_text()):
        assert text.count("training dashed, validation solid") == 1
        assert text.count("How to read the figures") == 1


def test_figures_in_the_page_follow_its_theme_and_their_files_stay_on_white(
    example: ReportResult,
) -> None:
    embedded = re.findall(r'src="data:image/svg\+xml,([^"]+)"', page(example))
    assert len(embedded) == len(list((example.directory / "figures").glob("*.svg")))
    for data in embedded:
        svg = unquote(data)
        ElementTree.fromstring(svg)
        assert svg.count("prefers-color-scheme:dark") == 1
        assert not any(f": {colour}" in svg for colour in DARK)
        # Black that matplotlib leaves out would stay black on dark paper.
        assert "#000000" not in svg
    for path in (example.directory / "figures").glob("*.svg"):
        assert "prefers-color-scheme" not in path.read_text()
