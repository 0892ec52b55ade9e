"""Make a report: read a folder of runs, draw and write everything."""

import gc
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from pandas import DataFrame
from tqdm import tqdm

from augean.analysis.comparison import Table, summarise
from augean.analysis.images import CorrectImages
from augean.analysis.load import Contents, Problem, scan
from augean.analysis.recordings import read_metrics
from augean.analysis.run import Run
from augean.cores import usable_cores
from augean.errors import AugeanError
from augean.regular_files import NOTE_BYTES, read_regular
from augean.report.figures.confusion import draw_confusion
from augean.report.figures.curves import draw_curves
from augean.report.figures.effects import draw_all_effects, draw_effects
from augean.report.figures.factors import draw_factors
from augean.report.figures.landscape import draw_landscapes
from augean.report.figures.networks import draw_models
from augean.report.figures.plotting import Picture, figure_style, number_figures
from augean.report.figures.settling import draw_settling
from augean.report.figures.tuning import draw_tuning
from augean.report.findings import make_findings
from augean.report.page import Beginning, Section, write_page
from augean.report.tables import file_kinds
from augean.store.files import write_atomic

FEWEST_SHARED = 8
"""Number of tables from which on several processes draw. With fewer, starting the processes costs
more than they save."""


MAX_LETTERS = 12
"""Letters without a font that a remark names."""


class ReportResult(NamedTuple):
    """Where the report lies and what it had to leave out."""

    directory: Path
    num_runs: int
    """Of tables and beside them, those that are missing too."""
    sections: list[Section]
    beginning: Beginning
    problems: list[Problem]

    @property
    def exit_code(self) -> int:
        """2 where files could not be read, else 0; unfinished runs are not an error."""
        return 2 if any(problem.unreadable for problem in self.problems) else 0


class _DrawingTask(NamedTuple):
    """What drawing one table needs."""

    contents: Contents
    table: Table
    metrics: DataFrame


_tasks_of_parent: list[_DrawingTask] = []
"""The tasks of the parent process, in a process that draws for it; else empty."""


class _Drawing(NamedTuple):
    """The figures of one table, and what was wrong with their files."""

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
            understood or matches nothing.
    """
    contents = scan(outputs, select, check_freshness=check_freshness)
    if contents.select and not contents.sweeps and not contents.runs:
        raise AugeanError(
            f"select {contents.select!r}: {outputs} has no such run; the report stays as it was"
        )
    folder = outputs / "report"
    _make_folders(folder)
    sweeps = sorted(contents.sweeps, key=lambda sweep: sweep.record.report_order)
    correct = CorrectImages(contents)
    tables = [summarise(sweep, correct=correct) for sweep in sweeps]
    metrics = read_metrics(contents, _completed_runs(contents))
    pictures_by_table = _draw_all(contents, tables, metrics)
    with figure_style():
        overview = draw_all_effects(tables, folder / "figures")
        models = draw_models(contents, tables, folder / "figures")
    _note_missing_letters(contents, tables, [*overview, *chain(*pictures_by_table), *models])
    overview, *pictures_by_table, models = number_figures(overview, pictures_by_table, models)
    sections = []
    for table, pictures in zip(tables, pictures_by_table, strict=True):
        sections.append(Section(table=table, pictures=pictures))
    runs = contents.frame().to_csv(index=False, lineterminator="\n")
    write_atomic(folder / "runs.csv", runs.encode(errors="replace"))
    beginning = Beginning(findings=make_findings(tables), overview=overview)
    write_page(contents, beginning, sections, models, metrics, folder)
    _tidy(folder, sections, [*overview, *models])
    in_tables = {job.id for table in tables for job, _ in table.sweep.job_runs}
    return ReportResult(
        directory=folder,
        num_runs=len(in_tables | contents.runs.keys()),
        sections=sections,
        beginning=beginning,
        problems=contents.problems,
    )


def _make_folders(folder: Path) -> None:
    """Make the folder of a report."""
    try:
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(
            f"cannot write the report: {error}; {folder.parent} must be a writable folder"
        ) from error


def _note_missing_letters(
    contents: Contents, tables: Sequence[Table], pictures: Sequence[Picture]
) -> None:
    """Note which letters the figures show as boxes, once for all of them."""
    letters = dict.fromkeys("".join(picture.missing_letters for picture in pictures))
    if not letters:
        return
    rows = [row.label for table in tables for row in table.rows]
    labels = [label for label in dict.fromkeys(rows) if not letters.keys().isdisjoint(label)]
    place = f", such as of row {labels[0]}" if labels else ""
    contents.note(
        contents.outputs / "report" / "figures",
        f"no font here has {''.join(letters)[:MAX_LETTERS]}, which are boxes in labels{place};"
        " install one with these letters, such as Noto Sans CJK",
        unreadable=False,
    )


def _completed_runs(contents: Contents) -> list[Run]:
    """Return the completed runs of tables and studies, each once."""
    runs = {}
    for sweep in contents.sweeps:
        for run in [*(run for _, run in sweep.job_runs), *sweep.trial_runs]:
            if run.summary is not None:
                runs[run.id] = run
    return list(runs.values())


def _draw_all(
    contents: Contents, tables: Sequence[Table], metrics: DataFrame
) -> list[list[Picture]]:
    """Return each table's figures, and note the problems of drawing them."""
    tasks = []
    for table in tables:
        directories = [run.directory for _, run in table.sweep.job_runs]
        task = _DrawingTask(
            contents=replace(contents, problems=[]),
            table=table,
            metrics=metrics[metrics.directory.isin(directories)],
        )
        tasks.append(task)
    # Half of a report's time is drawing. Only Linux forks safely, and a process that is started in
    # another way imports the caller's script once more.
    if len(tasks) >= FEWEST_SHARED and sys.platform == "linux":
        drawings = _draw_in_processes(tasks)
    else:
        drawings = _with_progress(map(_draw, tasks), len(tasks))
    for drawing in drawings:
        contents.problems += drawing.problems
    return [drawing.pictures for drawing in drawings]


def _draw_in_processes(tasks: Sequence[_DrawingTask]) -> list[_Drawing]:
    """Draw in a process for each core that may be used, at most 8."""
    num_processes = min(usable_cores(), 8)
    # Otherwise the garbage collection of each process walks through all runs again and again.
    gc.freeze()
    try:
        with ProcessPoolExecutor(num_processes, get_context("fork"), _keep_tasks, (tasks,)) as pool:
            return _with_progress(pool.map(_draw_task_of_parent, range(len(tasks))), len(tasks))
    finally:
        gc.unfreeze()


def _with_progress(drawings: Iterator[_Drawing], number: int) -> list[_Drawing]:
    """Collect the drawings; after one second a bar shows how many there are."""
    return list(tqdm(drawings, "drawing", number, delay=1, leave=False, disable=None))


def _keep_tasks(tasks: Sequence[_DrawingTask]) -> None:
    """Keep the tasks in a forked process: it has a copy of its parent's, so none are sent."""
    _tasks_of_parent.extend(tasks)


def _draw_task_of_parent(index: int) -> _Drawing:
    return _draw(_tasks_of_parent[index])


def _draw(task: _DrawingTask) -> _Drawing:
    figures = task.contents.outputs / "report" / "figures"
    with figure_style():
        pictures = draw_effects(task.table, figures)
        pictures += draw_factors(task.table, figures)
        pictures += draw_curves(task.table, task.metrics, figures)
        pictures += draw_confusion(task.contents, task.table, figures)
        pictures += draw_landscapes(task.contents, task.table, figures)
        pictures += draw_tuning(task.contents, task.table, figures)
        pictures += draw_settling(task.table, figures)
    return _Drawing(pictures=pictures, problems=task.contents.problems)


def _tidy(folder: Path, sections: Sequence[Section], others: Sequence[Picture]) -> None:
    """Remove the files of an earlier report that this one did not write.

    Files that no report made stay.

    Args:
        others: figures that belong to no section.
    """
    current_files = set()
    pictures = list(others)
    for section in sections:
        pictures += section.pictures
        for kind in file_kinds(section.table):
            current_files.add(f"tables/{section.table.sweep.record.name}.{kind}")
    for picture in pictures:
        current_files.add(f"figures/{picture.name}.png")
        current_files.add(f"figures/{picture.name}.svg")
        if picture.has_csv:
            current_files.add(f"figures/{picture.name}.csv")
    # Each report lists its files for the next one.
    list_file = folder / ".files"
    try:
        earlier_list = read_regular(list_file, NOTE_BYTES).decode(errors="replace")
    except OSError:
        # The first report, or a file that a report cannot have made.
        earlier_list = ""
    # Only names that a report can have made are believed, as these files are removed.
    earlier_files = re.findall(r"^(?:tables|figures)/\w[^/\n]*$", earlier_list, re.MULTILINE)
    for name in set(earlier_files) - current_files:
        (folder / name).unlink(missing_ok=True)
    write_atomic(list_file, "\n".join(sorted(current_files)) + "\n")
