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

import numpy
import pandas
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

import augean
from augean import rundir
from augean.report import tables
from augean.report.figures import Picture
from augean.report.load import Contents, Run
from augean.report.statistics import STATES, Table
from augean.report.tables import Column, number

LARGEST_SVG = 300_000
"""Bytes: a figure of more is set into the page as PNG."""
HEADING = "Augean report"
TEMPLATES = FileSystemLoader(Path(__file__).parent / "templates")


@dataclass(frozen=True)
class Place:
    """Where in the page a run is shown."""

    record: str
    anchor: str
    row: str


@dataclass(frozen=True)
class Inlined:
    """A figure with its content as a data address."""

    name: str
    caption: str
    alt: str
    source: str
    wide: bool


@dataclass(frozen=True)
class Section:
    """One table with all that belongs to it, as text."""

    anchor: str
    name: str
    title: str
    columns: list[Column]
    rows: list[list[tuple[Column, str]]]
    caption: list[str]
    warnings: list[str]
    gap: str
    fillable: bool
    command: str
    progress: str
    pictures: list[Inlined]


@dataclass(frozen=True)
class Line:
    """One run in the list of runs, as text."""

    id: str
    places: list[Place]
    state: str
    seed: str
    val: str
    test: str
    difference: str
    spark: str
    seconds: str
    command: str


def write_page(
    contents: Contents,
    all_tables: Sequence[Table],
    pictures: Sequence[Sequence[Picture]],
    models: Sequence[Picture],
    metrics: pandas.DataFrame,
    folder: Path,
    select: str | None,
) -> None:
    """Write index.html, report.md and tables/*.{csv,md,tex} into `folder`.

    Args:
        pictures: per table its figures; their files lie in `folder`/figures.
        metrics: of the runs in tables, for the small curves.
    """
    anchors: Counter[str] = Counter()
    sections = []
    for table, own in zip(all_tables, pictures, strict=True):
        slug = "table-" + re.sub(r"[^A-Za-z0-9]+", "-", table.sweep.record.name)
        anchors[slug] += 1
        anchor = slug if anchors[slug] == 1 else f"{slug}-{anchors[slug]}"
        sections.append(_section(table, anchor, [_inline(picture, folder) for picture in own]))
    listed, loose = _lines(contents, all_tables, sections, metrics)
    states = Counter(line.state for line in (*listed, *loose))
    shared = {
        "heading": HEADING,
        "outputs": shown(contents.outputs),
        "select": select,
        "sections": sections,
        "models": [_inline(picture, folder) for picture in models],
        "listed": listed,
        "loose": loose,
        "problems": contents.problems,
        "copies": contents.copies,
        "counts": [(state, states[state]) for state in STATES if states[state]],
        "total": tables.runs_text(states.total()),
        "version": augean.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    pages = Environment(loader=TEMPLATES, autoescape=select_autoescape(["html"]), trim_blocks=True)
    plain = Environment(loader=TEMPLATES, autoescape=False, keep_trailing_newline=True)
    plain.filters["md"] = tables.markdown
    latex = Environment(
        loader=TEMPLATES,
        autoescape=False,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        finalize=lambda value: value if isinstance(value, Markup) else tables.tex(str(value)),
    )
    for section, table in zip(sections, all_tables, strict=True):
        path = folder / "tables" / section.name
        letters = ["@{\\,}l" if column.joined else "r" if column.numeric else "l" for column in section.columns]
        texts = {"section": section, "spec": Markup("".join(letters)), "title": tables.bare_title(table)}
        _write(path.with_name(f"{path.name}.csv"), tables.csv(table))
        _write(path.with_name(f"{path.name}.md"), _tidy(plain.get_template("table.md").render(texts)))
        _write(path.with_name(f"{path.name}.tex"), latex.get_template("table.tex").render(texts))
    _write(folder / "report.md", _tidy(plain.get_template("report.md").render(shared)))
    _write(folder / "index.html", pages.get_template("page.html").render(shared))


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _write(path: Path, text: str) -> None:
    # A file name may hold bytes that are no text; they become question marks.
    rundir.write(path, text.encode("utf-8", "replace"), sync=False)


def _section(table: Table, anchor: str, pictures: list[Inlined]) -> Section:
    record, shown_columns = table.sweep.record, tables.columns(table)
    sentence, fillable = tables.gap(table)
    total = sum(row.states.total() for row in table.rows)
    return Section(
        anchor=anchor,
        name=record.name,
        title=record.title,
        columns=shown_columns,
        rows=[[(column, column.cells[index]) for column in shown_columns] for index in range(len(table.rows))],
        caption=tables.caption(table),
        warnings=tables.warnings(table),
        gap=sentence,
        fillable=fillable,
        command=record.command,
        progress=f"{sum(row.states['finished'] for row in table.rows)} of {tables.runs_text(total)}",
        pictures=pictures,
    )


def _inline(picture: Picture, folder: Path) -> Inlined:
    content, kind = (folder / "figures" / f"{picture.name}.svg").read_bytes(), "svg+xml"
    if len(content) > LARGEST_SVG:
        content, kind = (folder / "figures" / f"{picture.name}.png").read_bytes(), "png"
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Inlined(picture.name, picture.caption, picture.alt, source, picture.name.endswith("_curves"))


def _lines(
    contents: Contents, all_tables: Sequence[Table], sections: Sequence[Section], metrics: pandas.DataFrame
) -> tuple[list[Line], list[Line]]:
    """The runs in tables, in the tables' order, and the runs in none."""
    places: dict[str, dict[Place, None]] = {}
    runs: dict[str, Run] = {}
    baselines: dict[str, float] = {}
    for table, section in zip(all_tables, sections, strict=True):
        means = {row.label: row.accuracy.mean for row in table.rows}
        for job, run in table.sweep.cells:
            runs[job.id] = run
            places.setdefault(job.id, {})[Place(section.name, section.anchor, job.row)] = None
            if table.baseline is not None:
                baselines.setdefault(job.id, means[table.baseline])
    curves = _sparks(metrics)
    root = shown(rundir.runs_dir(contents.outputs))

    def line(run: Run) -> Line:
        test, baseline = run.get("test_accuracy"), baselines.get(run["id"])
        difference = None if test is None or baseline is None else 100 * test - baseline
        folder = f"{root}/{run['directory']}"
        place = shlex.quote(folder) if folder.startswith("/") else f'"$PWD"/{shlex.quote(folder)}'
        return Line(
            id=run["id"],
            places=list(places.get(run["id"], ())),
            state=run["state"],
            seed=str(run.get("seed", "-")),
            val=_percent(run.get("val_accuracy")),
            test=_percent(test),
            difference=number(difference, signed=True),
            spark=curves.get(run["directory"], ""),
            seconds=tables.seconds(run.get("seconds")),
            command=f"python train.py -cp {place} -cn config" if run["id"] in contents.runs else "",
        )

    return [line(run) for run in runs.values()], [line(run) for key, run in contents.runs.items() if key not in runs]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else number(100 * fraction)


def _sparks(metrics: pandas.DataFrame) -> dict[str, str]:
    """Per directory the points of a small curve of validation accuracy, 90 wide and 20 high, all on one scale."""
    known = metrics[metrics.val_accuracy.notna()]
    if known.empty:
        return {}
    low, high = float(known.val_accuracy.min()), float(known.val_accuracy.max())
    heights = (18.5 - 17 * (known.val_accuracy.to_numpy(float) - low) / (high - low or 1.0)).round(1).tolist()
    places = known.directory.astype(str).to_numpy()
    starts = numpy.flatnonzero(numpy.r_[True, places[1:] != places[:-1]])
    curves = {}
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        step = 88 / max(1, end - start - 1)
        points = (f"{1 + step * index:.0f},{height:g}" for index, height in enumerate(heights[start:end]))
        curves[str(places[start])] = " ".join(points)
    return curves


def shown(path: Path) -> str:
    """A path as the page names it: relative to the working folder where it lies below that."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative
