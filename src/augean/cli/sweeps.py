"""`augean status`, `settle` and `promote`: what sweeps have done, and what follows from them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from augean.cli.completion import complete_overrides
from augean.cli.json_document import (
    add_json_option,
    document,
    messages_on_stderr,
    sweep_entry,
    table_entry,
)
from augean.cli.parser import (
    Commands,
    add_command,
    add_config_dir_option,
    add_outputs_option,
    positive_number,
)
from augean.errors import AugeanError

if TYPE_CHECKING:
    from augean.store.sweep_record import SweepRecord
    from augean.sweeps.settle import Settling

STATUS_EXAMPLES = """
augean status                                             all sweeps of ./outputs
augean status table1                                      those whose name begins so
augean status table3_width experiment=demo     before its launch: is it in order, how long?
"""
SETTLE_EXAMPLES = """
augean settle table1_activation --dry-run                 what is undecided, what it may cost
augean settle table1_activation --budget 2h               seeds for those rows, for two hours
augean settle table1_activation -- experiment=demo        the sweep's own overrides go last
"""
PROMOTE_EXAMPLES = """
augean promote tune_final                                 writes conf/experiment/tuned.yaml
augean train experiment=tuned seed=7                      a run with the winner's values
"""


def add_commands(commands: Commands) -> None:
    _add_status(commands)
    _add_settle(commands)
    _add_promote(commands)


def _add_status(commands: Commands) -> None:
    parser = add_command(
        commands,
        "status",
        run_status,
        summary="runs of each sweep by their state; of one that was not launched yet: what it would"
        " do",
        examples=STATUS_EXAMPLES,
    )
    add_outputs_option(parser)
    add_json_option(parser)
    parser.add_argument(
        "sweep", nargs="?", help="only sweeps whose name begins with this; or a sweep file"
    )
    action = parser.add_argument(
        "overrides", nargs="*", help="overrides of the sweep, as it was or will be launched"
    )
    action.completer = complete_overrides  # type: ignore[attr-defined]
    add_config_dir_option(parser)


def run_status(arguments: argparse.Namespace) -> int:
    """Print the state of each sweep's runs, and the command that fills the gaps.

    Returns:
        2 where a record is damaged, else 0.
    """
    from augean.store.sweep_record import read_records
    from augean.sweeps.slurm import queued

    outputs = arguments.outputs
    # The default folder may be missing before the first launch; any other is probably a typo.
    if not arguments.sweep and not outputs.is_dir() and outputs != Path("outputs"):
        raise AugeanError(
            f"--outputs {outputs}: no such folder; name the runs' own runtime.outputs"
        )
    records, problems = read_records(outputs)
    if arguments.sweep:
        names = [record.name for record in records]
        records = [
            record
            for record in records
            if record.was_asked_as(arguments.sweep, arguments.overrides)
        ]
        if not records and not arguments.json:
            return _print_preview(arguments, names)
    if not records and not arguments.json:
        print(f"No sweep was launched into {outputs} yet. For example: make demo")
    # Without an answer of SLURM the states of the runs are still right.
    try:
        slurm_jobs = queued(outputs)
    except AugeanError as error:
        print(error, file=sys.stderr)
        slurm_jobs = {}
    if arguments.json:
        print(_status_document(outputs, records, slurm_jobs, problems))
        records = []
    for record in records:
        _print_record(record, outputs, slurm_jobs)
    # Last, where they are seen: damaged records may be why a sweep is not listed.
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


def _status_document(
    outputs: Path, records: "list[SweepRecord]", slurm_jobs: dict[str, str], problems: list[str]
) -> str:
    from augean.monitor.sweep_status import StatusReader, is_locked_run
    from augean.sweeps.slurm import describe_queue

    reader = StatusReader(outputs, is_locked_run(outputs))
    sweeps = []
    for record in records:
        queue = describe_queue(record, slurm_jobs)
        sweeps.append(sweep_entry(reader.read(record), queue=queue))
    return document("status", outputs, sweeps, problems)


def _print_preview(arguments: argparse.Namespace, launched_names: list[str]) -> int:
    """Print what a sweep file that was not launched yet would do.

    Args:
        launched_names: names of all launched sweeps, for a suggestion.

    Raises:
        AugeanError: when there is no such sweep file.
    """
    from augean.config.paths import sweeps_dir, yaml_names
    from augean.suggestions import list_choices

    folder = arguments.config_dir or sweeps_dir()
    if not (folder / f"{arguments.sweep}.yaml").exists():
        choices = list_choices(arguments.sweep, [*launched_names, *yaml_names(folder)], "")
        raise AugeanError(
            f"{arguments.sweep}: no sweep in {arguments.outputs}, and no sweep file in"
            f" {folder}{choices}"
        )
    from augean.sweeps.preview import preview

    lines = preview(arguments.sweep, arguments.overrides, arguments.outputs, arguments.config_dir)
    print(*lines, sep="\n")
    return 0


def _print_record(record: "SweepRecord", outputs: Path, slurm_jobs: dict[str, str]) -> None:
    """Print the progress of one sweep, and the command that goes on with it."""
    from augean.store.summary import RunState
    from augean.sweeps.slurm import describe_queue
    from augean.terminal import coloured

    states = record.states(outputs)
    present = [state for state in RunState if states[state]]
    is_complete = all(state.is_completed for state in present)
    parts = [coloured(f"{states[state]} {state}", state) for state in present]
    # Trials are counted by their own states, not by those of their runs: the run of a pruned trial
    # is interrupted, but the trial is done.
    if record.kind == "study":
        completed = [job for job in record.trials if job.state in ("complete", "pruned")]
        progress = f"{len(completed)} of {record.num_trials} trials done"
        best = record.best_trial()
        if best is not None:
            progress += f", best {best.score:.2%}"
        parts.insert(0, progress)
        is_complete &= len(completed) >= (record.num_trials or 0)
    print(f"{record.name} ({record.title}): {', '.join(parts)}")
    _print_running(record, outputs)
    if not is_complete:
        if waiting := describe_queue(record, slurm_jobs):
            print(f"  in SLURM's queue: {waiting}")
        print(f"  to go on: {record.command}")


def _print_running(record: "SweepRecord", outputs: Path) -> None:
    """Print the progress of each running run that has written a progress file."""
    from augean.store.run_directory import run_state, runs_dir
    from augean.store.run_progress import read_progress
    from augean.store.summary import RunState
    from augean.terminal import readable_seconds

    jobs = {job.id: job for job in record.jobs}
    for job in jobs.values():
        path = runs_dir(outputs) / job.run
        progress = read_progress(path)
        # A killed process leaves its progress file behind, so the state is tested too.
        if progress is None or run_state(outputs, path, job.id) != RunState.RUNNING:
            continue
        text = f"  {job.row}, seed {job.seed}: epoch {progress.epoch} of {progress.epochs}"
        if progress.val_accuracy is not None:
            text += f", validation {progress.val_accuracy:.2%}"
        if progress.seconds_left is not None:
            text += f", about {readable_seconds(progress.seconds_left)} left"
        print(text)


def _add_settle(commands: Commands) -> None:
    summary = (
        "add seeds to the undecided rows of a table until each is better, worse or equivalent to"
        " its baseline"
    )
    parser = add_command(commands, "settle", run_settle, summary=summary, examples=SETTLE_EXAMPLES)
    parser.description = f"{summary}; overrides of the sweep go last, after --"
    parser.add_argument("sweep", help="name of a sweep file, such as table1_activation")
    add_config_dir_option(parser)
    parser.add_argument(
        "--margin", type=float, help="percentage points that count as equivalent (default: 0.5)"
    )
    parser.add_argument(
        "--least", type=positive_number, help="seeds of a row at the first look (default: 3)"
    )
    parser.add_argument(
        "--most",
        type=positive_number,
        help="seeds after which a row stays undecided (default: 20)",
    )
    parser.add_argument(
        "--budget", help="of this call, such as 30runs, 90min, 1.5h or 2gpuh (default: none)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what is undecided and what it may cost"
    )
    add_outputs_option(parser)
    add_json_option(parser)


def run_settle(arguments: argparse.Namespace) -> int:
    """Spend seeds on the undecided rows of a table."""
    from augean.sweeps.settle import Settling

    design = {}
    for key in ("margin", "least", "most"):
        value = getattr(arguments, key)
        # An option that is left out keeps the value of an earlier call, else its default.
        if value is not None:
            design[key] = value
    settling = Settling(
        arguments.sweep,
        arguments.config_dir,
        arguments.outputs,
        arguments.overrides_at_end,
        design,
        arguments.budget,
    )
    with messages_on_stderr(arguments.json):
        try:
            status = settling.run(dry=arguments.dry_run)
        except SystemExit as stop:
            if not arguments.json or not isinstance(stop.code, int):
                raise
            status = stop.code  # of a sweep that failed or was stopped: the document says how far
        text = _settle_document(settling) if arguments.json else ""
    if arguments.json:
        print(text)
    return status


def _settle_document(settling: "Settling") -> str:
    from augean.analysis.comparison import summarise
    from augean.analysis.load import scan

    record = settling.find_record()
    sweeps = []
    problems = []
    if record is not None:
        contents = scan(settling.outputs)
        problems = [f"{problem.path}: {problem.message}" for problem in contents.problems]
        for sweep in contents.sweeps:
            if sweep.record.name == record.name:
                sweeps.append(table_entry(settling.outputs, summarise(sweep)))
    return document("settle", settling.outputs, sweeps, problems)


def _add_promote(commands: Commands) -> None:
    parser = add_command(
        commands,
        "promote",
        run_promote,
        summary="write the winner of a study as an experiment file",
        examples=PROMOTE_EXAMPLES,
    )
    parser.add_argument("study", help="name of the study, such as tune_final")
    add_outputs_option(parser)
    parser.add_argument(
        "--to", type=Path, help="file to write (default: conf/experiment/tuned.yaml)"
    )


def run_promote(arguments: argparse.Namespace) -> int:
    """Write a study's winner and say how to use it."""
    from augean.config.paths import config_dir
    from augean.sweeps.promote import promote

    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    target = arguments.to or config_dir() / "experiment" / "tuned.yaml"
    path = promote(arguments.outputs, arguments.study, groups, target)
    print(f"Written: {path}; use it with experiment={path.stem}")
    return 0
