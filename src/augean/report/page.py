"""Sets tables and figures into the page, the Markdown summary and the files beside them."""

import base64
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import pandas
from jinja2 import Environment, FileSystemLoader, select_autoescape

import augean
from augean import rundir
from augean.report import tables
from augean.report.figures import Picture
from augean.report.load import Contents, Run
from augean.report.statistics import STATES, Table

LARGEST_SVG = 300_000
"""Bytes: a figure of more is set into the page as PNG."""


@dataclass(frozen=True)
class Section:
    """One table with its place in the page and its figures."""

    table: Table
    pictures: Sequence[Picture]

    @property
    def anchor(self) -> str:
        return "table-" + re.sub(r"[^A-Za-z0-9]+", "-", self.table.sweep.record.name)


def write_page(
    contents: Contents, sections: Sequence[Section], models: Sequence[Picture], metrics: pandas.DataFrame, folder: Path
) -> None:
    """Write index.html, report.md and tables/*.{csv,md,tex} into `folder`, where figures/ lies already.

    Args:
        models: the figures of the networks.
        metrics: of the runs in tables, for the small curves.
    """
    places: dict[str, dict[tuple[str, str, str], None]] = {}
    listed: dict[str, Run] = {}
    baselines: dict[str, float] = {}
    for section in sections:
        means = {row.label: row.accuracy.mean for row in section.table.rows}
        for job, run in section.table.sweep.cells:
            listed[job.id] = run
            places.setdefault(job.id, {})[section.table.sweep.record.name, section.anchor, job.row] = None
            if section.table.baseline is not None:
                baselines.setdefault(job.id, means[section.table.baseline])
    loose = [run for key, run in contents.runs.items() if key not in listed]
    states = Counter(run["state"] for run in (*listed.values(), *loose))

    def to_baseline(run: Run) -> str:
        test, baseline = run.get("test_accuracy"), baselines.get(run["id"])
        return tables.number(None if test is None or baseline is None else 100 * test - baseline, signed=True)

    def source(picture: Picture) -> str:
        content, kind = (folder / "figures" / f"{picture.name}.svg").read_bytes(), "svg+xml"
        if len(content) > LARGEST_SVG:
            content, kind = (folder / "figures" / f"{picture.name}.png").read_bytes(), "png"
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

    shared = {
        "contents": contents,
        "sections": sections,
        "models": models,
        "listed": list(listed.values()),
        "loose": loose,
        "places": places,
        "curves": _sparks(metrics),
        "counts": [(state, states[state]) for state in STATES if states[state]],
        "outputs": _shown(contents.outputs),
        "version": augean.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "again": lambda run: _command(contents, run),
        "to_baseline": to_baseline,
        "source": source,
    }
    pages, latex = _environment(), _environment("<%", "%>", "<<", ">>", "<#", "#>")
    latex.finalize = lambda value: tables.tex(str(value))
    for section in sections:
        stem = folder / "tables" / section.table.sweep.record.name
        _write(stem, ".csv", tables.csv(section.table))
        _write(stem, ".md", pages.get_template("table.md").render(section=section))
        _write(stem, ".tex", latex.get_template("table.tex").render(section=section))
    _write(folder / "report", ".md", pages.get_template("report.md").render(shared))
    _write(folder / "index", ".html", pages.get_template("page.html").render(shared))


def _environment(*delimiters: str) -> Environment:
    """Templates with the module `tables` and its filters; only HTML is escaped by itself."""
    loader, escape = FileSystemLoader(Path(__file__).parent / "templates"), select_autoescape(["html"])
    environment = Environment(*delimiters, loader=loader, autoescape=escape)
    environment.globals.update(tables=tables, caption=_caption)
    environment.filters.update(md=tables.markdown, percent=tables.percent, seconds=tables.seconds)
    return environment


def _caption(table: Table) -> str:
    return " ".join(_environment().get_template("caption.txt").render(table=table).split())


def _write(stem: Path, ending: str, text: str) -> None:
    # Names of files may hold bytes that are no text; they become question marks.
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    rundir.write(stem.with_name(stem.name + ending), text.encode("utf-8", "replace"), sync=False)


def _command(contents: Contents, run: Run) -> str:
    """What trains the run, from its own config; empty for a run that has no directory."""
    if run["id"] not in contents.runs:
        return ""
    folder = f"{_shown(rundir.runs_dir(contents.outputs))}/{run['directory']}"
    place = shlex.quote(folder) if folder.startswith("/") else f'"$PWD"/{shlex.quote(folder)}'
    return f"python train.py -cp {place} -cn config"


def _shown(path: Path) -> str:
    """A path as the page names it: relative to the working folder where it lies below that."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


def _sparks(metrics: pandas.DataFrame) -> dict[str, str]:
    """Per directory the points of a small curve of validation accuracy, 90 wide and 20 high, all on one scale."""
    known = metrics[metrics.val_accuracy.notna()]
    if known.empty:
        return {}
    values, places = known.val_accuracy.to_numpy(float), known.directory.astype(str).to_numpy()
    heights = (18.5 - 17 * (values - values.min()) / (numpy.ptp(values) or 1.0)).round(1).tolist()
    starts = numpy.flatnonzero(numpy.r_[True, places[1:] != places[:-1]]).tolist()
    curves: dict[str, Any] = {}
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        step = 88 / max(1, end - start - 1)
        points = (f"{1 + step * index:.0f},{height:g}" for index, height in enumerate(heights[start:end]))
        curves[places[start]] = " ".join(points)
    return curves
