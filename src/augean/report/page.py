"""Set tables and figures into the page, the Markdown summary and the files beside them."""

import base64
import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
from jinja2 import Environment, FileSystemLoader, select_autoescape

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.analysis.run_command import run_command
from augean.report import escape, outdated, tables
from augean.report.findings import Finding
from augean.report.plotting import Picture
from augean.report.theme import follow_theme
from augean.store.files import write_atomic
from augean.store.run_directory import runs_dir
from augean.version import version

TEMPLATES = Path(__file__).parent / "templates"
OWN_COMMANDS = ("augean ", "python train.py ")
"""How the commands of Augean's own sweeps begin; others are of custom loops."""
LARGEST_SVG = 300_000
"""Bytes: a larger figure is set into the page as PNG."""


class Section(NamedTuple):
    """A table with its figures."""

    table: Table
    pictures: list[Picture]


class Beginning(NamedTuple):
    """What a report begins with."""

    findings: list[Finding]
    """A line a table: what is decided, what is not, what it would take."""
    overview: list[Picture]
    """The effects of all tables in one figure; nothing where a single table has any."""


def write_page(
    contents: Contents,
    beginning: Beginning,
    sections: Sequence[Section],
    models: Sequence[Picture],
    metrics: pandas.DataFrame,
    folder: Path,
) -> None:
    """Write index.html, report.md and tables/*.{csv,md,tex} into `folder`.

    Args:
        models: the figures of the networks.
        metrics: of the runs in tables, for the small curves.
        folder: of the report; the pictures lie in its figures/ already.
    """
    text = text_environment()
    latex = latex_environment()
    for section in sections:
        table = section.table
        stem = folder / "tables" / table.sweep.record.name
        _write(stem, ".csv", tables.csv(table))
        _write(stem, ".md", text.get_template("table.md").render(table=table))
        _write(stem, ".tex", latex.get_template("table.tex").render(table=table))
    page = _Page(contents, sections, folder)
    shown = {
        "contents": contents,
        "sections": sections,
        "beginning": beginning,
        "models": models,
        "curves": _small_curves(metrics),
        **page.values(),
    }
    _write(folder / "report", ".md", text.get_template("report.md").render(shown))
    _write(folder / "index", ".html", text.get_template("page.html").render(shown))


class _Page:
    """What the templates of the page ask for, beside tables and figures."""

    def __init__(self, contents: Contents, sections: Sequence[Section], folder: Path) -> None:
        self.contents = contents
        self.sections = sections
        self.folder = folder
        self.baselines: dict[str, float] = {}
        self.loop_commands: dict[str, str] = {}
        # The first table that a run belongs to has the last word.
        for section in reversed(sections):
            for row in section.table.rows:
                if row.label == section.table.baseline:
                    for job, _ in section.table.sweep.cells:
                        self.baselines[job.id] = row.accuracy.mean
            command = section.table.sweep.record.command
            if not command.startswith(OWN_COMMANDS):
                for job, _ in section.table.sweep.cells:
                    self.loop_commands[job.id] = command

    def values(self) -> dict[str, Any]:
        """Return the names that the templates know."""
        listed = {}
        for section in self.sections:
            for job, run in section.table.sweep.cells:
                listed[job.id] = run
        loose = [run for key, run in self.contents.runs.items() if key not in listed]
        titles = [section.table.sweep.record.title for section in self.sections]
        return {
            "listed": list(listed.values()),
            "loose": loose,
            "states": Counter(run.state for run in [*listed.values(), *loose]),
            "titles": Counter(titles),
            "any_outdated": any(outdated.is_outdated(run) for run in listed.values()),
            "outputs": _shown_path(self.contents.outputs),
            "places": self.contents.places(),
            "made": datetime.now(UTC),
            "again": self.command,
            "to_baseline": self.to_baseline,
            "source": self.source,
        }

    def command(self, run: Run) -> str:
        """Return what trains the run again; "" for a run without a directory."""
        if run.id not in self.contents.runs:
            return ""
        # A custom loop is started by a command of its own, which its table has.
        if run.id in self.loop_commands or (run.summary is not None and run.summary.loop):
            return self.loop_commands.get(run.id, "")
        return run_command(runs_dir(self.contents.outputs) / run.directory, run.summary)

    def to_baseline(self, run: Run) -> str:
        """Return the run's difference to the mean of its table's baseline, in points."""
        baseline = self.baselines.get(run.id)
        if run.test_accuracy is None or baseline is None:
            return tables.number(None)
        return tables.number(100 * run.test_accuracy - baseline, signed=True)

    def source(self, picture: Picture) -> str:
        """Return a picture as a link that holds it, so that the page is a single file."""
        path = self.folder / "figures" / f"{picture.name}.svg"
        if path.stat().st_size > LARGEST_SVG:
            data = path.with_suffix(".png").read_bytes()
            kind = "png"
        else:
            data = follow_theme(path.read_bytes())
            kind = "svg+xml"
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@cache
def text_environment() -> Environment:
    """Return what renders HTML, which it escapes, and Markdown, which the templates escape."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"])
    )
    _add_names(environment)
    return environment


@cache
def latex_environment() -> Environment:
    """Return what renders LaTeX; it escapes every value.

    LaTeX needs the usual delimiters of templates itself.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        finalize=lambda value: escape.latex(str(value)),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    _add_names(environment)
    return environment


def _add_names(environment: Environment) -> None:
    """Add what all templates use: the module `tables` and filters."""
    environment.globals.update(
        tables=tables, outdated=outdated, caption=_caption, version=version()
    )
    environment.filters.update(
        md=escape.markdown, line=escape.line, percent=tables.percent, seconds=tables.seconds
    )


def _caption(table: Table) -> str:
    text = text_environment().get_template("caption.txt").render(table=table)
    return " ".join(text.split())


def _write(stem: Path, ending: str, text: str) -> None:
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    # Names of files may hold bytes that are not text; they become question marks.
    write_atomic(stem.with_name(stem.name + ending), text.encode("utf-8", "replace"), sync=False)


def _shown_path(path: Path) -> str:
    """Return a path as the page names it: relative where it lies below the working folder."""
    relative = os.path.relpath(path)
    if relative.startswith(".."):
        return os.path.abspath(path)
    return relative


def _small_curves(metrics: pandas.DataFrame) -> dict[str, str]:
    """Return the points of a small curve of validation accuracy by directory.

    Each is 90 wide and 20 high, all on one scale.
    """
    validated = metrics[metrics.val_accuracy.notna()]
    if validated.empty:
        return {}
    epochs = validated.epoch.to_numpy(float)
    values = validated.val_accuracy.to_numpy(float)
    x = 1 + 88 * (epochs - 1) / max(1.0, epochs.max() - 1)
    # SVG counts y downwards from the top.
    y = 18.5 - 17 * (values - values.min()) / (numpy.ptp(values) or 1.0)
    # Plain lists, as pandas is slow where every cell is text.
    directories = validated.directory.tolist()
    points: dict[str, list[str]] = {}
    for directory, x_value, y_value in zip(directories, x.tolist(), y.tolist(), strict=True):
        points.setdefault(directory, []).append(f"{x_value:.0f},{y_value:.1f}")
    return {directory: " ".join(texts) for directory, texts in points.items()}
