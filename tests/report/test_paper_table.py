"""The LaTeX table: what stands in it, below it, and in comments of its file alone."""

from pathlib import Path

from augean.report import make_report
from fake_runs import write_scores

CUT = [60.0, 99.0, 80.0]
"""Scores whose interval is cut at 100."""


def source(outputs: Path) -> str:
    """Return the LaTeX of the table of `write_scores`."""
    return (make_report(outputs).directory / "tables" / "one.tex").read_text()


def lines_of(text: str, row: str) -> list[str]:
    """Return the cells of a row."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{row} &")]
    return [cell.strip() for cell in line.removesuffix("\\\\").split("&")]


def test_a_cut_interval_stands_apart_from_its_mean(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0, 51.0, 52.0], "wide": CUT})
    text = source(tmp_path)
    assert lines_of(text, "wide")[2:4] == ["79.67", "{[}31.22, 100.00{]}"]
    assert "r@{~}l" in text
    assert "@{\\,}" not in text


def test_the_baseline_has_one_dash_for_its_difference(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0, 51.0, 52.0], "other": [55.0, 56.0, 57.5]})
    assert lines_of(source(tmp_path), "base")[4:] == ["-", "", "baseline"]


def test_a_paper_gets_the_columns_that_judge_the_rows(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0, 51.0, 52.0], "other": [55.0, 56.0, 57.5]})
    text = source(tmp_path)
    assert (
        len(lines_of(text, "other")) == 7
    )  # row, n, mean, interval, difference, interval, verdict
    assert "validation, " not in text
    # A table that is wider than the text is neither cut nor hidden, but made smaller.
    assert "\\makebox" not in text
    assert "\\ifdim\\wd0>\\linewidth\\resizebox" in text
    assert "\\begin{table*}" in text


def test_machine_and_versions_are_comments_and_the_caption_is_short(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0, 51.0, 52.0], "other": CUT})
    lines = source(tmp_path).splitlines()
    (caption,) = [line for line in lines if line.startswith("\\caption")]
    assert caption.startswith("\\caption[Activation]{Activation. Data: digits")
    assert "n = 3 seeds a row" in caption
    for word in ("AMD EPYC", "torch 2.14.1"):
        assert word not in caption
        (comment,) = [line for line in lines if word in line]
        assert comment.startswith("% ")
    (notes,) = [line for line in lines if line.startswith("\\noindent\\parbox")]
    assert "Differences to base" in notes
    assert "n=3 is few" in notes


def test_the_file_begins_with_what_it_needs(tmp_path: Path) -> None:
    write_scores(tmp_path / "plain", {"base": [50.0], "λ ≤ Größe": [51.0]})
    lines = source(tmp_path / "plain").splitlines()
    assert lines[0] == r"% Made by Augean. Needs \usepackage{booktabs,graphicx}."
    assert "lualatex" not in lines[1]
    write_scores(tmp_path / "foreign", {"base": [50.0], "基线 ą": [51.0]})
    lines = source(tmp_path / "foreign").splitlines()
    assert "[T1]{fontenc}" in lines[0]
    assert lines[1] == "% Needs lualatex or xelatex, and a font that has these: 基线"
