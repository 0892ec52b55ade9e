"""From a folder of runs to tables, figures and a page. Reads run directories and sweep records only, never torch.

`make_report` writes everything; `load_runs` and `load_metrics` give the same data to a notebook.
"""

from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context

from augean import rundir
from augean.errors import AugeanError
from augean.report import figures, landscape, page
from augean.report.load import Problem, load_metrics, load_runs, read_metrics, scan
from augean.report.statistics import summarise

__all__ = ["Problem", "ReportResult", "load_metrics", "load_runs", "make_report"]


@dataclass(frozen=True)
class ReportResult:
    """Where the report lies and what it had to leave out."""

    directory: Path
    num_runs: int
    num_tables: int
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
        AugeanError: when there is no such folder, it cannot be written, or `select` cannot be understood.
    """
    contents = scan(outputs, select)
    folder = outputs / "report"
    try:
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"cannot write the report: {error}; {outputs} must be a writable folder") from error
    tables = [summarise(sweep) for sweep in contents.sweeps]
    directories = [run["directory"] for table in tables for _, run in table.sweep.cells if "seconds" in run]
    metrics, place = read_metrics(contents, directories), folder / "figures"
    with rc_context(fname=figures.STYLE):
        sections = [
            (table, [*figures.draw(contents, table, metrics, place), *landscape.draw(contents, table, folder)])
            for table in tables
        ]
        models = figures.draw_models(contents, tables, place)
    runs = contents.frame().to_csv(index=False, lineterminator="\n")
    rundir.write(folder / "runs.csv", runs.encode(errors="replace"))
    page.write_page(contents, sections, models, metrics, folder)
    return ReportResult(folder, len(contents.runs), len(tables), contents.problems)
