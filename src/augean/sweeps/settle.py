"""`augean settle`: add seeds to the rows of a table that are undecided, until all are settled or
the budget is spent.

It decides from the scores which rows get seeds, notes that in the sweep's record and launches the
sweep's own command, which trains them as ordinary runs. What decides is
`augean.analysis.sequential`; docs/settle.md says how.
"""

import math
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from augean.analysis.run import Run
from augean.analysis.sequential import Cells, Course, Design, design_of, follow
from augean.errors import AugeanError
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, identifying_overrides, read_records
from augean.sweeps.workers import program
from hydra_plugins.augean_sweeper.augean_sweeper import plan_sweep

UNITS = {"run": 1, "runs": 1, "s": 1, "min": 60, "h": 3600, "gpuh": 3600}
WIDTH = 41
"""Characters of the picture of a row's interval."""


def read_budget(text: str | None) -> tuple[float, str]:
    """A budget as a number of runs, of seconds by the clock ("s") or of seconds of device time
    ("gpuh"), and its unit.

    Raises:
        AugeanError: when it is not understood.
    """
    if text is None:
        return math.inf, "runs"
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(runs?|s|min|h|gpuh)", text)
    if match is None:
        raise AugeanError(
            f"--budget {text}: needs a number and one of runs, s, min, h, gpuh, such as 30runs or"
            " 1.5h"
        )
    unit = match[2] if match[2] == "gpuh" else "runs" if match[2].startswith("run") else "s"
    return float(match[1]) * UNITS[match[2]], unit


class Settling:
    """One call of `augean settle`.

    Args:
        sweep: name of the sweep file.
        folder: where that file lies; None for those that come with Augean.
        outputs: as `runtime.outputs`.
        overrides: of the sweep, as its own command takes them.
        asked: the fields of `Design` that are given.
        budget: such as 30runs; None is endless.
    """

    def __init__(
        self,
        sweep: str,
        folder: Path | None,
        outputs: Path,
        overrides: Sequence[str],
        asked: Mapping[str, Any],
        budget: str | None,
    ) -> None:
        if given := [item for item in overrides if item.startswith("runtime.outputs=")]:
            raise AugeanError(f"{given[0]}: name the folder with --outputs")
        self.sweep, self.folder, self.outputs, self.overrides, self.asked = (
            sweep,
            folder,
            outputs,
            overrides,
            asked,
        )
        self.budget, self.limit, self.start = budget, read_budget(budget), time.monotonic()
        workers = [
            item.split("=")[1] for item in overrides if re.fullmatch(r"runtime\.workers=\d+", item)
        ]
        self.workers = int(workers[-1]) if workers else 1
        where = ["-cd", str(folder)] if folder else []
        self.command = [*program(), *where, "-cn", sweep, *overrides, f"runtime.outputs={outputs}"]
        record = self.find()
        self.before = (
            {job.id for job, run in self.cells(record) if _over(run)} if record else set[str]()
        )

    def find(self) -> SweepRecord | None:
        """The sweep's record, if it was launched before."""
        extra, found = identifying_overrides(self.overrides), read_records(self.outputs)[0]
        own = [
            record
            for record in found
            if record.name.split("--")[0] == self.sweep and record.overrides == extra
        ]
        return own[0] if own else None

    def cells(self, record: SweepRecord) -> Cells:
        """The record's jobs, each with the summary of its run."""
        folder = runs_dir(self.outputs)
        cells: list[tuple[SweepJob, Run]] = []
        for job in record.jobs:
            summary = read_summary(folder / job.run)
            state = RunState.MISSING if summary is None else summary.status
            run = Run(id=job.id, directory=job.run, state=state, seed=job.seed, summary=summary)
            cells.append((job, run))
        return cells

    def run(self, *, dry: bool) -> int:
        """Settle the table; with `dry` only say what is undecided. Returns the exit code.

        Raises:
            AugeanError: when the table cannot be settled.
            SystemExit: with the sweep's own exit code, when a run failed or a stop signal came.
        """
        record = self.find()
        if record is None:
            place = f'runtime.outputs="{self.outputs}"'
            _with_design(
                plan_sweep(self.sweep, [*self.overrides, place], self.folder).record, self.asked
            )
            if dry:
                print(
                    f"{self.sweep} was not launched yet: settling begins with the runs that it"
                    " names itself."
                )
                return 0
            self.launch()
            record = self.find()
        if record is None:
            raise AugeanError(f"{self.sweep} left no record in {self.outputs}: is it a sweep file?")
        record = _with_design(record, self.asked)
        while True:
            if not dry:
                record.write(self.outputs)
                if self.lacks_runs(record):
                    self.launch()
                    record = self.find() or record
            cells = self.cells(record)
            courses = follow(record, cells)
            seconds = statistics.median(
                _seconds(run for _, run in cells if run.state is RunState.FINISHED) or [math.nan]
            )
            self.show(record, courses, seconds)
            more = {} if dry else self.next_seeds(record, cells, courses, seconds)
            if not more:
                break
            record = replace(
                record,
                design={**record.design, "seeds": {**record.design.get("seeds", {}), **more}},
            )
        left = [course.row for course in courses if course.open]
        if left and not dry:
            rows = ", ".join(left)
            print(
                f"The budget of {self.budget} reaches no further. Undecided: {rows}; the same"
                " command goes on."
            )
        return 0

    def lacks_runs(self, record: SweepRecord) -> bool:
        """Whether runs that were asked for are not over, or not even in the record yet."""
        wanted: Mapping[str, int] = record.design.get("seeds", {})
        behind = any(
            number > len(_seeds(record, row))
            for row, number in wanted.items()
            if _seeds(record, row)
        )
        return behind or not all(_over(run) for _, run in self.cells(record))

    def next_seeds(
        self, record: SweepRecord, cells: Cells, courses: Sequence[Course], seconds: float
    ) -> dict[str, int]:
        """How many seeds undecided rows and the baseline are to have after the next round, within
        the budget.
        """
        design, undecided = design_of(record), [course for course in courses if course.open]
        new = {job.id: run for job, run in cells if job.id not in self.before and _over(run)}
        device = sum(_seconds(new.values()))
        clock = time.monotonic() - self.start
        # As many looks at once as keep the workers busy: seeds beyond the look that decides are the
        # price.
        ahead = max(1, self.workers // (len(undecided) + 1))
        wanted: dict[str, int] = {}
        cost = 0
        for course in undecided:
            target = min(max(course.n + ahead, design.least), design.most)
            short: dict[str, int] = {}
            for row in (course.row, str(record.baseline)):
                have = wanted.get(row, len(_seeds(record, row)))
                short |= {row: target - have} if have < target else {}
            runs = cost + sum(short.values())
            spent = {
                "runs": len(new) + runs,
                "s": clock + math.ceil(runs / self.workers) * seconds,
                "gpuh": device + runs * seconds,
            }
            if spent[self.limit[1]] <= self.limit[0]:
                wanted |= dict.fromkeys(short, target)
                cost = runs
        return wanted

    def show(self, record: SweepRecord, courses: Sequence[Course], seconds: float) -> None:
        """Print each row's interval as a picture and in numbers, and what the undecided ones are
        expected to cost.
        """
        design, width = design_of(record), max(map(len, (course.row for course in courses)))
        print(
            f"{record.title}: difference to {record.baseline} in points, {design.least} to"
            f" {design.most} seeds; {design.margin:g} is a ':'"
        )
        for course in courses:
            difference = course.difference
            half = (
                "no interval"
                if math.isnan(difference.low)
                else f"± {difference.high - difference.value:.2f}"
            )
            numbers = f"{difference.value:+7.2f} {half:11}" if course.looks else " " * 19
            print(
                f"  {course.row:{width}}  {_picture(course, design.margin)}  {numbers} "
                f" {course.text}"
            )
        undecided = [course for course in courses if course.open]
        targets = [(course.row, course.expected) for course in undecided]
        targets += [(str(record.baseline), max((number for _, number in targets), default=0))]
        runs = sum(max(0, number - len(_seeds(record, row))) for row, number in targets)
        if undecided:
            print(
                f"  undecided: {len(undecided)} of {len(courses)} rows; if means and deviations"
                f" stay as they are, about {runs} more runs, {runs * seconds / 3600:.2g} h of"
                " device time",
                flush=True,
            )

    def launch(self) -> None:
        """Run the sweep's own command to its end; a stop signal is passed on to it.

        Raises:
            SystemExit: with its exit code, when that is not 0.
        """
        stopped: list[int] = []
        child = subprocess.Popen(self.command, process_group=0)

        def pass_on(number: int, _frame: Any) -> None:
            stopped.append(number)
            child.send_signal(number)

        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        before = {number: signal.signal(number, pass_on) for number in handled}
        try:
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if stopped or code:
            raise SystemExit(128 + stopped[0] if stopped else code)


def _over(run: Run) -> bool:
    return run.state.is_completed


def _seconds(runs: Iterable[Run]) -> list[float]:
    summaries = [run.summary for run in runs if run.summary is not None]
    return [summary.seconds for summary in summaries if summary.seconds is not None]


def _seeds(record: SweepRecord, row: str) -> set[int]:
    return {job.seed for job in record.jobs if job.row == row}


def _with_design(record: SweepRecord, asked: Mapping[str, Any]) -> SweepRecord:
    """The record with the design that it has, or else the one asked for.

    Raises:
        AugeanError: when it has another one than asked for, or its table cannot be settled.
    """
    rows = {job.row for job in record.jobs}
    if record.kind == "study" or record.baseline not in rows or len(rows) < 2:
        raise AugeanError(
            f"{record.name}: settling compares rows with a baseline, and this table has none"
        )
    record = record if record.design else replace(record, design=asdict(Design(**asked)))
    try:
        kept = asdict(design_of(record))
    except (TypeError, ValueError) as error:
        given = (
            "".join(f" --{key} {value}" for key, value in asked.items())
            or f" the design {record.design}"
        )
        raise AugeanError(
            f"{record.name}:{given} cannot be judged; it needs a margin above 0 and 3 <= least <="
            " most; the defaults are --margin 0.5 --least 3 --most 20"
        ) from error
    if changed := {key: kept[key] for key, value in asked.items() if kept[key] != value}:
        raise AugeanError(
            f"{record.name} is being settled with"
            f" {', '.join(f'--{key} {value}' for key, value in changed.items())}: a design that"
            " changes once results were seen keeps no error rate. Give that, or settle a copy of"
            " the sweep file under a name of its own"
        )
    return record


def _picture(course: Course, margin: float) -> str:
    """The last interval on a scale of ten margins: - the interval, o the difference, | zero, : the
    margin.
    """
    value, low, high, *_ = course.difference

    def place(number: float) -> int:
        return round((WIDTH - 1) * (min(max(number / margin, -5), 5) + 5) / 10)

    line = [" "] * WIDTH
    if course.looks:
        low, high = (-math.inf, math.inf) if math.isnan(low) else (low, high)
        line[place(low) : place(high) + 1] = "-" * (place(high) - place(low) + 1)
    for number, sign in (
        (-margin, ":"),
        (0.0, "|"),
        (margin, ":"),
        *([(value, "o")] if course.looks else []),
    ):
        line[place(number)] = sign
    return "".join(line)
