"""Write the page, the Markdown summary and the files of each table, by way of templates."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.report import escape, outdated, paper_table, study_table, tables
from augean.report.explore import chart_library
from augean.report.figures.plotting import Picture
from augean.report.findings import Finding
from augean.report.page_svg import size_attributes, svg_link
from augean.report.run_data import gather_runs, runs_of
from augean.runs.training_command import run_command, seen_from
from augean.store.files import write_atomic
from augean.store.record_titles import distinct_titles, distinctions
from augean.store.run_directory import runs_dir
from augean.terminal import counted
from augean.version import version

TEMPLATES = Path(__file__).parent / "templates"
LARGEST_SVG = 300_000
"""Bytes: a larger figure is set into the page as PNG."""


class Section(NamedTuple):
    """A table with its figures."""

    table: Table
    pictures: list[Picture]


class Beginning(NamedTuple):
    """What a report begins with."""

    findings: list[Finding]
    """A line for each table: what is decided, what is not, what it would take."""
    overview: list[Picture]
    """The effects of all tables in one figure; empty where fewer than two tables have any."""


def write_page(
    contents: Contents,
    beginning: Beginning,
    sections: Sequence[Section],
    models: Sequence[Picture],
    metrics: pandas.DataFrame,
    folder: Path,
) -> None:
    """Write index.html, report.md and the files of each table into `folder`.

    Args:
        models: the figures of the networks.
        metrics: of the runs in tables, for their curves on the page.
        folder: of the report; the pictures lie in its figures/ already.
    """
    text = text_environment()
    latex = latex_environment()
    titles = distinct_titles(section.table.sweep.record for section in sections)
    for section in sections:
        table = section.table
        name = table.sweep.record.name
        stem = folder / "tables" / name
        _write(stem, ".md", text.get_template("table.md").render(table=table))
        if not table.rows:
            # Text alone: see `tables.file_kinds`.
            continue
        _write(stem, ".csv", tables.csv(table))
        content = latex.get_template("table.tex").render(table=table, full_title=titles[name])
        _write(stem, ".tex", paper_table.head(content) + content)
    page = _Page(contents, sections, folder)
    names = {
        "contents": contents,
        "sections": sections,
        "beginning": beginning,
        "models": models,
        "chart_library": chart_library(),
        "run_data": gather_runs(
            page.runs(),
            [section.table for section in sections],
            {finding.name: finding.title for finding in beginning.findings},
            metrics,
            page.command,
        ),
    }
    names |= page.names()
    _write(folder / "report", ".md", text.get_template("report.md").render(names))
    _write(folder / "index", ".html", text.get_template("page.html").render(names))


class _Page:
    """What the templates of the page know of runs, beside tables and figures."""

    def __init__(self, contents: Contents, sections: Sequence[Section], folder: Path) -> None:
        self.contents = contents
        self.sections = sections
        self.folder = folder
        self.loop_commands: dict[str, str] = {}
        """By id of a run of a custom loop, the command that starts the loop."""
        in_tables = {}
        for section in sections:
            record = section.table.sweep.record
            for job, run in section.table.sweep.job_runs:
                in_tables[job.id] = run
                # The first table of a run that has one.
                if job.command is not None:
                    self.loop_commands.setdefault(job.id, job.command)
                # In records of earlier versions the jobs have no commands.
                elif run.summary is not None and run.summary.loop:
                    self.loop_commands.setdefault(job.id, record.command)
        self.listed = list(in_tables.values())
        """The runs in tables, each once."""
        self.loose = [run for key, run in contents.runs.items() if key not in in_tables]
        """The other runs."""

    def runs(self) -> list[Run]:
        """Return all runs, those in tables first."""
        return [*self.listed, *self.loose]

    def names(self) -> dict[str, Any]:
        """Return what the templates know, by its name there."""
        records = [section.table.sweep.record for section in self.sections]
        return {
            "listed": self.listed,
            "loose": self.loose,
            "states": Counter(run.state for run in self.runs()),
            "distinctions": distinctions(records),
            "has_charts": any(runs_of(section.table) for section in self.sections),
            "any_outdated": any(outdated.is_outdated(run) for run in self.listed),
            "outputs": seen_from(self.contents.outputs, Path.cwd()),
            "made": datetime.now(UTC),
            "source": self.source,
            "size": self.size,
        }

    def command(self, run: Run) -> str:
        """Return what trains the run again; "" for a run without a directory."""
        if run.id not in self.contents.runs:
            return ""
        # A custom loop is started by a command of its own, which its table has.
        if run.id in self.loop_commands:
            return self.loop_commands[run.id]
        if run.summary is not None and run.summary.loop:
            return ""
        return run_command(runs_dir(self.contents.outputs) / run.directory, run.summary)

    def source(self, picture: Picture) -> str:
        """Return a picture as a link that holds it, so that the page is a single file."""
        path = self.folder / "figures" / f"{picture.name}.svg"
        if path.stat().st_size <= LARGEST_SVG:
            return svg_link(path.read_bytes())
        data = path.with_suffix(".png").read_bytes()
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    def size(self, picture: Picture) -> Markup:
        """Return a picture's shape, by which the page keeps room for it until it is near.

        Thousands of lines in the figures far below would otherwise delay the first view.
        """
        path = self.folder / "figures" / f"{picture.name}.svg"
        return size_attributes(path.read_bytes())


@cache
def text_environment() -> Environment:
    """Return what renders HTML and Markdown.

    HTML is escaped here; in Markdown the templates do it by the filter `md`.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"])
    )
    _add_names(environment)
    return environment


@cache
def latex_environment() -> Environment:
    """Return what renders LaTeX; it escapes every value."""
    # Braces and percent signs, the usual delimiters of templates, are commands of LaTeX.
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
    """Add what all templates use: modules of this package, the version and filters."""
    environment.globals.update(
        tables=tables,
        outdated=outdated,
        paper=paper_table,
        study=study_table,
        plain_text=_plain_text,
        counted=counted,
        version=version(),
    )
    environment.filters.update(
        md=escape.markdown,
        line=escape.line,
        sentence=escape.sentence,
        percent=tables.percent,
        seconds=tables.seconds,
    )


def _plain_text(template: str, table: Table) -> str:
    """Return what a template says of a table, such as its caption, as one line of plain text."""
    text = text_environment().get_template(template).render(table=table)
    # The lines of the template are not those of the text.
    return " ".join(text.split())


def _write(stem: Path, ending: str, text: str) -> None:
    """Write what a template gave, without the empty lines that its conditions left."""
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    # Names of files may hold bytes that are not text; they become question marks.
    write_atomic(stem.with_name(stem.name + ending), text.encode("utf-8", "replace"), sync=False)
