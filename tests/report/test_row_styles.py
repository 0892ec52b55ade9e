"""A row has one colour in all figures and charts of its table."""

from pathlib import Path

from augean.report import make_report
from augean.report.figures.plotting import COLOURS, INK
from augean.report.page_svg import DARK
from fake_runs import write_scores
from page_data import page_data

DESIGN = {"margin": 0.5, "least": 3, "most": 20, "alpha": 0.05, "looks": 18, "seeds": {}}


def test_a_row_has_one_colour_in_curves_settling_and_charts(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0, 51.0, 52.0], "a": [70.0, 71.0, 73.0]}, design=DESIGN)
    folder = make_report(tmp_path).directory
    base, other = (colour.lower() for colour in COLOURS[:2])
    curves = (folder / "figures" / "one_curves.svg").read_text()
    assert base in curves
    assert other in curves
    # The baseline has no line of its own here.
    settling = (folder / "figures" / "one_settling.svg").read_text()
    assert base not in settling
    assert other in settling
    (table,) = page_data(folder)["tables"]
    assert table["rows"] == ["base", "a"]
    assert table["colours"] == [0, 1]


def test_rows_that_figures_draw_in_grey_are_grey_in_charts(tmp_path: Path) -> None:
    rows = {f"row {number}": [50.0 + number] for number in range(11)}
    write_scores(tmp_path, rows, baseline=None)
    (table,) = page_data(make_report(tmp_path).directory)["tables"]
    assert table["colours"].count(None) == 11 - len(COLOURS)


def test_charts_have_the_palette_of_the_figures(tmp_path: Path) -> None:
    write_scores(tmp_path, {"base": [50.0]})
    palettes = page_data(make_report(tmp_path).directory)["palettes"]
    light = [colour.lower() for colour in COLOURS]
    assert palettes["light"] == light
    assert palettes["dark"] == [DARK.get(colour, colour) for colour in light]
    # The colour of text cannot be the same on both grounds.
    assert palettes["dark"][COLOURS.index(INK)] != INK.lower()
