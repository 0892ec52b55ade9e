"""Sets tables and figures into the page, the Markdown summary and the files beside them."""

import base64
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy
import pandas
from jinja2 import Environment, FileSystemLoader, select_autoescape

from augean.analysis.comparison import Table
from augean.analysis.load import Contents, Run
from augean.report import tables
from augean.report.plotting import Picture
from augean.store.files import write_atomic
from augean.store.run_directory import runs_dir
from augean.version import version

STARTS = {"block_start_string": "<%", "variable_start_string": "<<", "comment_start_string": "<#"}
ENDS = {"block_end_string": "%>", "variable_end_string": ">>", "comment_end_string": "#>"}
"""Of template commands in LaTeX, which needs the usual ones itself."""
LARGEST_SVG = 300_000
"""Bytes: a figure of more is set into the page as PNG."""


def write_page(
    contents: Contents,
    sections: Sequence[tuple[Table, Sequence[Picture]]],
    models: Sequence[Picture],
    metrics: pandas.DataFrame,
    folder: Path,
) -> None:
    """Write index.html, report.md and tables/*.{csv,md,tex} into `folder`, where figures/ lies
    already.

    Args:
        sections: every table with its figures.
        models: the figures of the networks.
        metrics: of the runs in tables, for the small curves.
    """
    listed = {job.id: run for table, _ in sections for job, run in table.sweep.cells}
    loose = [run for key, run in contents.runs.items() if key not in listed]
    rows = [
        (table, row) for table, _ in sections for row in table.rows if row.label == table.baseline
    ]
    # The first table that a run belongs to has the last word.
    baselines = {
        job.id: row.accuracy.mean for table, row in reversed(rows) for job, _ in table.sweep.cells
    }

    def to_baseline(run: Run) -> str:
        test, baseline = run.get("test_accuracy"), baselines.get(run["id"])
        return tables.number(
            None if test is None or baseline is None else 100 * test - baseline, signed=True
        )

    def source(picture: Picture) -> str:
        content, kind = (folder / "figures" / f"{picture.name}.svg").read_bytes(), "svg+xml"
        if len(content) > LARGEST_SVG:
            content, kind = (folder / "figures" / f"{picture.name}.png").read_bytes(), "png"
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

    shown = {
        "contents": contents,
        "sections": sections,
        "models": models,
        "listed": [*listed.values()],
        "loose": loose,
    }
    facts = {
        "outputs": _shown(contents.outputs),
        "places": contents.places(),
        "made": datetime.now(UTC),
    }
    facts |= {
        "states": Counter(run["state"] for run in (*listed.values(), *loose)),
        "curves": _sparks(metrics),
    }
    facts["titles"] = Counter(table.sweep.record.title for table, _ in sections)
    asked = {"again": partial(_command, contents), "to_baseline": to_baseline, "source": source}
    pages, latex = environment(), environment(latex=True)
    for table, _ in sections:
        stem = folder / "tables" / table.sweep.record.name
        _write(stem, ".csv", tables.csv(table))
        _write(stem, ".md", pages.get_template("table.md").render(table=table))
        _write(stem, ".tex", latex.get_template("table.tex").render(table=table))
    _write(folder / "report", ".md", pages.get_template("report.md").render(shown | facts | asked))
    _write(folder / "index", ".html", pages.get_template("page.html").render(shown | facts | asked))


@cache
def environment(*, latex: bool = False) -> Environment:
    """Templates with the module `tables` and its filters; only HTML is escaped by itself, and LaTeX
    by `finalize`.
    """
    loader, escape = (
        FileSystemLoader(Path(__file__).parent / "templates"),
        select_autoescape(["html"]),
    )
    options: dict[str, Any] = (
        {"finalize": lambda value: tables.tex(str(value)), **STARTS, **ENDS} if latex else {}
    )
    environment = Environment(loader=loader, autoescape=escape, **options)
    environment.globals.update(tables=tables, caption=_caption, version=version())
    environment.filters.update(
        md=tables.markdown, line=tables.line, percent=tables.percent, seconds=tables.seconds
    )
    return environment


def _caption(table: Table) -> str:
    return " ".join(environment().get_template("caption.txt").render(table=table).split())


def _write(stem: Path, ending: str, text: str) -> None:
    # Names of files may hold bytes that are no text; they become question marks.
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    write_atomic(stem.with_name(stem.name + ending), text.encode("utf-8", "replace"), sync=False)


def _command(contents: Contents, run: Run) -> str:
    """What trains the run, from its own config; empty for a run that has no directory."""
    if run["id"] not in contents.runs:
        return ""
    folder = f"{_shown(runs_dir(contents.outputs))}/{run['directory']}"
    place = shlex.quote(folder) if folder.startswith("/") else f'"$PWD"/{shlex.quote(folder)}'
    return f"python train.py -cp {place} -cn config"


def _shown(path: Path) -> str:
    """A path as the page names it: relative to the working folder where it lies below that."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


def _sparks(metrics: pandas.DataFrame) -> dict[str, str]:
    """Per directory the points of a small curve of validation accuracy, 90 wide and 20 high, all on
    one scale.
    """
    known = metrics[metrics.val_accuracy.notna()]
    if known.empty:
        return {}
    epochs, values = known.epoch.to_numpy(float), known.val_accuracy.to_numpy(float)
    x = 1 + 88 * (epochs - 1) / max(1.0, epochs.max() - 1)
    y = 18.5 - 17 * (values - values.min()) / (numpy.ptp(values) or 1.0)
    points = pandas.Series(
        [f"{a:.0f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)], known.index
    )
    return dict(points.groupby(known.directory, sort=False, observed=True).agg(" ".join))
