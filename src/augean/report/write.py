"""Make a report: read a folder of runs, draw and write everything."""

import gc
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from pandas import DataFrame
from tqdm import tqdm

from augean.analysis.comparison import Table, summarise
from augean.analysis.images import CorrectImages
from augean.analysis.load import Contents, Problem, read_metrics, scan
from augean.errors import AugeanError
from augean.regular_files import NOTE_BYTES, read_regular
from augean.report.effect_figures import draw_all_effects, draw_effects
from augean.report.factor_figures import draw_factors
from augean.report.figures import draw_figures
from augean.report.findings import find
from augean.report.landscape_figures import draw_landscapes
from augean.report.model_diagram import draw_models
from augean.report.page import Beginning, Section, write_page
from augean.report.plotting import STYLE, Picture, number_figures
from augean.report.sequential_figures import draw_settling
from augean.report.tuning_figures import draw_tuning
from augean.store.files import write_atomic

FEWEST_SHARED = 8
"""Tables from which on several processes draw: below it they cost more than they save."""


class ReportResult(NamedTuple):
    """Where the report lies and what it had to leave out."""

    directory: Path
    num_runs: int
    sections: list[Section]
    beginning: Beginning
    problems: list[Problem]

    @property
    def exit_code(self) -> int:
        """2 where files could not be read, else 0; unfinished runs are not an error."""
        return 2 if any(problem.unreadable for problem in self.problems) else 0


class _Job(NamedTuple):
    """What drawing one table needs."""

    contents: Contents
    table: Table
    metrics: DataFrame


_inherited: list[_Job] = []
"""In a process that draws for another one: the jobs of that."""


class _Drawing(NamedTuple):
    """What came of drawing one table."""

    pictures: list[Picture]
    problems: list[Problem]


def make_report(
    outputs: Path, select: str | None = None, *, check_freshness: bool = True
) -> ReportResult:
    """Write `outputs`/report: index.html, report.md, runs.csv, tables/ and figures/.

    Args:
        outputs: the folder that `runtime.outputs` named.
        select: keep only runs such as `optimizer.name=sgd,adam`, see `load.scan`.
        check_freshness: whether to say which runs are outdated.

    Raises:
        AugeanError: when there is no such folder, it cannot be written, or `select` cannot be
            understood.
    """
    contents = scan(outputs, select, check_freshness=check_freshness)
    folder = outputs / "report"
    try:
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(
            f"cannot write the report: {error}; {outputs} must be a writable folder"
        ) from error
    sweeps = sorted(contents.sweeps, key=lambda sweep: sweep.record.place)
    correct = CorrectImages(contents)
    tables = [summarise(sweep, correct=correct) for sweep in sweeps]
    completed = []
    for sweep in sweeps:
        completed += [run for _, run in sweep.cells if run.summary is not None]
    metrics = read_metrics(contents, completed)
    drawn = _draw_all(contents, tables, metrics)
    with rc_context(fname=STYLE):
        overview = draw_all_effects(tables, folder / "figures")
        models = draw_models(contents, tables, folder / "figures")
    overview, *drawn, models = number_figures(overview, drawn, models)
    sections = [Section(table, pictures) for table, pictures in zip(tables, drawn, strict=True)]
    runs = contents.frame().to_csv(index=False, lineterminator="\n")
    write_atomic(folder / "runs.csv", runs.encode(errors="replace"))
    findings = find(tables)
    beginning = Beginning(findings=findings, overview=overview)
    write_page(contents, beginning, sections, models, metrics, folder)
    _tidy(folder, sections, [*overview, *models])
    return ReportResult(
        directory=folder,
        num_runs=len(contents.runs),
        sections=sections,
        beginning=beginning,
        problems=contents.problems,
    )


def _draw_all(
    contents: Contents, tables: Sequence[Table], metrics: DataFrame
) -> list[list[Picture]]:
    """Return each table's figures.

    Those of a large report are drawn in several processes, as half of its time goes into drawing.
    """
    jobs = []
    for table in tables:
        directories = [run.directory for _, run in table.sweep.cells]
        job = _Job(
            contents=replace(contents, problems=[]),
            table=table,
            metrics=metrics[metrics.directory.isin(directories)],
        )
        jobs.append(job)
    # Only Linux forks safely, and another start would import the caller's script once more.
    if len(jobs) >= FEWEST_SHARED and sys.platform == "linux":
        drawings = _draw_in_processes(jobs)
    else:
        drawings = _with_progress(map(_draw, jobs), len(jobs))
    for drawing in drawings:
        contents.problems += drawing.problems
    return [drawing.pictures for drawing in drawings]


def _draw_in_processes(jobs: Sequence[_Job]) -> list[_Drawing]:
    num_processes = min(os.cpu_count() or 1, 8)
    # Otherwise the garbage collection of each process walks through all runs again and again.
    gc.freeze()
    try:
        with ProcessPoolExecutor(num_processes, get_context("fork"), _inherit, (jobs,)) as pool:
            return _with_progress(pool.map(_draw_inherited, range(len(jobs))), len(jobs))
    finally:
        gc.unfreeze()


def _with_progress(drawings: Iterator[_Drawing], number: int) -> list[_Drawing]:
    return list(tqdm(drawings, "drawing", number, delay=1, leave=False, disable=None))


def _inherit(jobs: Sequence[_Job]) -> None:
    """Note the jobs in a forked process, which has them without their being sent."""
    _inherited.extend(jobs)


def _draw_inherited(number: int) -> _Drawing:
    return _draw(_inherited[number])


def _draw(job: _Job) -> _Drawing:
    folder = job.contents.outputs / "report"
    figures = folder / "figures"
    with rc_context(fname=STYLE):
        pictures = draw_effects(job.table, figures)
        pictures += draw_factors(job.table, folder)
        pictures += draw_figures(job.contents, job.table, job.metrics, figures)
        pictures += draw_landscapes(job.contents, job.table, folder)
        pictures += draw_tuning(job.contents, job.table, figures)
        pictures += draw_settling(job.table, figures)
    return _Drawing(pictures=pictures, problems=job.contents.problems)


def _tidy(folder: Path, sections: Sequence[Section], others: Sequence[Picture]) -> None:
    """Remove what an earlier report made and this one did not; files of others stay.

    Args:
        others: figures that belong to no section.
    """
    current_files = set()
    pictures = list(others)
    for section in sections:
        pictures += section.pictures
        for ending in (".csv", ".md", ".tex", "_band.csv", "_probe.csv", "_grid.csv"):
            current_files.add(f"tables/{section.table.sweep.record.name}{ending}")
    for picture in pictures:
        current_files.add(f"figures/{picture.name}.png")
        current_files.add(f"figures/{picture.name}.svg")
    listed = folder / ".files"
    try:
        before = read_regular(listed, NOTE_BYTES).decode(errors="replace")
    except OSError:  # the first report, or a file that a report cannot have made
        before = ""
    # Only names that a report can have made are believed.
    own = set(re.findall(r"^(?:tables|figures)/\w[^/\n]*$", before, re.MULTILINE))
    for name in own - current_files:
        (folder / name).unlink(missing_ok=True)
    write_atomic(listed, "\n".join(sorted(current_files)) + "\n")
