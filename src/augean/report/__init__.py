"""From a folder of runs to tables, figures and a page. Reads run directories and sweep records
only, never torch.

`make_report` writes everything; `load_runs` and `load_metrics` give the same data to a notebook.
"""

import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from pandas import DataFrame
from tqdm import tqdm

from augean.analysis.comparison import Table, summarise
from augean.analysis.load import (
    Contents,
    Problem,
    Sweep,
    load_metrics,
    load_runs,
    read_metrics,
    scan,
)
from augean.errors import AugeanError
from augean.report import page
from augean.report.figures import draw_figures
from augean.report.landscape_figures import draw_landscapes
from augean.report.model_diagram import draw_models
from augean.report.plotting import STYLE, Picture
from augean.report.sequential_figures import draw_settling
from augean.report.tuning_figures import draw_tuning
from augean.store.files import write_atomic

__all__ = ["Problem", "ReportResult", "load_metrics", "load_runs", "make_report"]
FEWEST_SHARED = 8
"""Tables from which on several processes draw: below it they cost more than they save."""


class ReportResult(NamedTuple):
    """Where the report lies and what it had to leave out."""

    directory: Path
    num_runs: int
    sections: list[tuple[Table, list[Picture]]]
    """Every table with its figures."""
    problems: list[Problem]

    @property
    def exit_code(self) -> int:
        """2 where files could not be read, else 0; unfinished runs are no error."""
        return 2 if any(problem.unreadable for problem in self.problems) else 0


def make_report(outputs: Path, select: str | None = None) -> ReportResult:
    """Write `outputs`/report: index.html, report.md, runs.csv, tables/ and figures/.

    Args:
        outputs: the folder that `runtime.outputs` named.
        select: keep only runs such as `optimizer.name=sgd,adam`, see `load.scan`.

    Raises:
        AugeanError: when there is no such folder, it cannot be written, or `select` cannot be
            understood.
    """
    contents = scan(outputs, select)
    folder = outputs / "report"
    try:
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(
            f"cannot write the report: {error}; {outputs} must be a writable folder"
        ) from error
    tables = [
        summarise(sweep) for sweep in sorted(contents.sweeps, key=lambda sweep: sweep.record.place)
    ]
    directories = [
        run["directory"] for table in tables for _, run in table.sweep.cells if "seconds" in run
    ]
    metrics = read_metrics(contents, directories)
    sections = [
        (table, pictures)
        for table, pictures in zip(tables, _draw_all(contents, tables, metrics), strict=True)
    ]
    with rc_context(fname=STYLE):
        models = draw_models(contents, tables, folder / "figures")
    runs = contents.frame().to_csv(index=False, lineterminator="\n")
    write_atomic(folder / "runs.csv", runs.encode(errors="replace"))
    page.write_page(contents, sections, models, metrics, folder)
    _tidy(
        folder,
        tables,
        [picture for pictures in (*dict(sections).values(), models) for picture in pictures],
    )
    return ReportResult(folder, len(contents.runs), sections, contents.problems)


def _draw_all(
    contents: Contents, tables: Sequence[Table], metrics: DataFrame
) -> list[list[Picture]]:
    """Each table's figures; those of a large report in several processes, as half of its time goes
    into drawing.
    """
    own = [
        metrics[metrics.directory.isin([run["directory"] for _, run in table.sweep.cells])]
        for table in tables
    ]
    # What drawing needs of the whole: no runs, and of the jobs only the trials of studies.
    small = Contents(contents.outputs)
    small.sweeps = [
        Sweep(replace(sweep.record, jobs=sweep.record.trials), []) for sweep in contents.sweeps
    ]
    # Only Linux forks safely, and another start would import the caller's script once more.
    forks = len(tables) >= FEWEST_SHARED and sys.platform == "linux"
    with ProcessPoolExecutor(
        min(os.cpu_count() or 1, 8), get_context("fork" if forks else None)
    ) as pool:
        drawing = (pool.map if forks else map)(_draw, [small] * len(tables), tables, own)
        done = list(tqdm(drawing, "drawing", len(tables), delay=1, leave=False, disable=None))
    contents.problems += [problem for _, problems in done for problem in problems]
    return [pictures for pictures, _ in done]


def _draw(
    contents: Contents, table: Table, metrics: DataFrame
) -> tuple[list[Picture], list[Problem]]:
    contents, folder = replace(contents, problems=[]), contents.outputs / "report"
    with rc_context(fname=STYLE):
        further = draw_landscapes(contents, table, folder) + draw_tuning(contents, table, folder)
        further += draw_settling(table, folder)
        return draw_figures(
            contents, table, metrics, folder / "figures"
        ) + further, contents.problems


def _tidy(folder: Path, tables: Sequence[Table], pictures: Sequence[Picture]) -> None:
    """Remove what an earlier report made and this one did not; files of others stay."""
    endings = (".csv", ".md", ".tex", "_band.csv", "_probe.csv")
    made = {f"tables/{table.sweep.record.name}{ending}" for table in tables for ending in endings}
    made |= {f"figures/{picture.name}.{kind}" for picture in pictures for kind in ("png", "svg")}
    listed = folder / ".files"
    before = listed.read_text(errors="replace") if listed.exists() else ""
    for name in set(re.findall(r"^(?:tables|figures)/\w[^/\n]*$", before, re.MULTILINE)) - made:
        (folder / name).unlink(missing_ok=True)
    write_atomic(listed, "\n".join(sorted(made)) + "\n")
