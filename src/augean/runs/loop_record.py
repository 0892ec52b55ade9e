"""Add the runs of a custom loop to the record of their table, which the report reads."""

import logging
import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from augean.errors import AugeanError, ConfigError
from augean.passwords import without_passwords
from augean.runs.loop_code import LoopCode
from augean.store.record_identity import plain_name, record_path
from augean.store.run_directory import place_at, run_state, runs_dir
from augean.store.run_files import UNPACKED
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, hold_record, read_record
from augean.training.provenance import timestamp

logger = logging.getLogger(__name__)

LONGEST_RECORD_NAME = 200
"""Most characters of a record's name: the files of the report add their own words to it."""
_jobs_of_process: dict[tuple[Path, str, int, str], SweepJob] = {}
"""The runs that this process has added, by their record, row, seed and loop."""


def command_of_loop() -> str:
    """Return the command that started this script, as a person would type it again."""
    script, *arguments = map(without_passwords, sys.argv)
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    # `python -m mine.loop`: as a file, it would not find the modules beside it.
    started = [script] if spec is None else ["-m", spec.name.removesuffix(".__main__")]
    return shlex.join(["python", *started, *arguments])


def _record_name(table: str) -> str:
    """Return the name of a table's record, a file name that `pack` takes."""
    name = re.sub(r"[^A-Za-z0-9.+-]+", "_", table)
    if not table.isascii() or len(name) > LONGEST_RECORD_NAME:
        name = plain_name(table)
    return name if re.match(r"\w", name) else f"_{name}"


def _check_joins(record: SweepRecord, path: Path, table: str) -> None:
    """Refuse the record at `path` where it is not that of the table."""
    if record.kind != "grid":
        raise ConfigError(
            f"augean.run: table={table}: {path} is the record of a study; give another name"
        )
    # A custom loop joins the table of a sweep file by its name, whatever that table's title is.
    is_of_sweep = any(job.command is None for job in record.jobs)
    if record.title != table and not is_of_sweep:
        raise ConfigError(
            f"augean.run: table={table!r}: has the record of the table {record.title!r}, {path};"
            " give them titles that differ in letters or digits, or move that record away"
        )


def _refuse_second_run(outputs: Path, known: SweepJob, job: SweepJob) -> None:
    """Refuse a run that would replace another one of this process, unless that has failed.

    The runs of a script that was edited replace the older ones: it is a new process or, where a
    notebook has loaded a module again, another loop.
    """
    state = run_state(outputs, runs_dir(outputs) / known.run, known.id)
    if state.is_completed or state is RunState.RUNNING:
        raise ConfigError(
            f"augean.run: row {job.row}, seed {job.seed} is already run {known.id} of this script;"
            " give each config a row of its own, and its seed as `seed`"
        )


def _judge_replacement(
    outputs: Path, table: str, other: SweepJob, job: SweepJob, loop: LoopCode
) -> None:
    """Say that a completed run makes way for another one; refuse it where it is another script's.

    Raises:
        ConfigError: where the script of the completed run is still there and is not this one.
    """
    directory = runs_dir(outputs) / other.run
    try:
        summary = read_summary(directory, other.id)
    # Damaged: it is no result that could be lost.
    except AugeanError:
        return
    if summary is None:
        return
    place = f"row {job.row}, seed {job.seed}"
    # A copy of this script, as in another checkout, has the same code.
    is_same_code = summary.loop_digest == loop.code.digest
    scripts = _find_scripts(outputs, directory, summary)
    is_here = any(os.path.samefile(script, loop.file) for script in scripts)
    if scripts and not is_here and not is_same_code:
        raise ConfigError(
            f"augean.run: table={table!r}: {place} is run {other.id} of {scripts[0]}; name another"
            " table or row in one of the two scripts"
        )
    logger.info(f"{place} of table {table}: run {other.id} makes way for {job.id}")


def _find_scripts(outputs: Path, directory: Path, summary: RunSummary) -> list[Path]:
    """Return the files that may be the loop that trained a run; none where it is gone or not known.

    The summary has the name of the loop's file without its folder, and a module beside it may have
    the same one.
    """
    place = (summary.places or {}).get("loop")
    # What a run from an archive recorded was said of other folders.
    if place is None or (directory / UNPACKED).exists():
        return []
    files = [place_at(outputs, place) / name for name in summary.code_digests or {}]
    return [file for file in files if file.name == summary.loop and file.is_file()]


def add_to_record(
    outputs: Path, table: str, job: SweepJob, *, baseline: str | None, loop: LoopCode
) -> None:
    """Add a run to the record of its table, in place of an older one of the same row and seed.

    Raises:
        ConfigError: for a table that the run cannot be in, or when this process or another script
            has already added another run of the same row and seed.
    """
    if not isinstance(table, str) or not table.strip():
        raise ConfigError(f"augean.run: table={table!r}: must be the title of a table, as text")
    name = _record_name(table)
    path = record_path(outputs, name)
    key = (path.resolve(), job.row, job.seed, loop.code.digest)
    known = _jobs_of_process.get(key)
    if known is not None and known.id != job.id:
        _refuse_second_run(outputs, known, job)
    # Held from reading to writing: loops that start together must not lose each other's runs.
    with hold_record(outputs, name):
        if path.exists():
            record = read_record(path)
            _check_joins(record, path, table)
        else:
            record = SweepRecord(
                name=name,
                title=table,
                command=job.command or "",
                created=timestamp(),
                jobs=[],
                baseline=baseline,
            )
        jobs = list(record.jobs)
        for index, other in enumerate(jobs):
            # A sweep's own runs stay, even in a row of that name.
            if other.command is not None and (other.row, other.seed) == (job.row, job.seed):
                if other.id != job.id:
                    _judge_replacement(outputs, table, other, job, loop)
                jobs[index] = job
                break
        else:
            jobs.append(job)
        updated_record = replace(
            record,
            jobs=jobs,
            baseline=baseline or record.baseline,
        )
        # A script that is started again changes nothing, and so writes nothing.
        if updated_record != record:
            updated_record.write(outputs)
    _jobs_of_process[key] = job
