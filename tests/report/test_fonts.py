"""Letters of labels that the usual font of figures lacks."""

from pathlib import Path

import pytest
from matplotlib import font_manager, rcParams

from augean.report import make_report
from augean.report.figures.plotting import figure_style
from fake_runs import write_scores


def test_letters_without_a_font_are_named_once_and_are_no_failure(tmp_path: Path) -> None:
    # No font has letters of the private use area.
    write_scores(tmp_path, {"base": [50.0, 51.0], "row \ue123": [60.0, 61.0]})
    result = make_report(tmp_path)
    (problem,) = result.problems
    assert problem.path == "report/figures"
    assert "no font here has \ue123" in problem.message
    assert "row \ue123" in problem.message
    assert result.exit_code == 0


def test_installed_fonts_are_asked_for_letters_that_the_usual_one_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["SimHei", "Comic Sans MS"])
    with figure_style():
        assert rcParams["font.family"] == ["sans-serif", "SimHei"]
