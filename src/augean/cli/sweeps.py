"""`augean status` and `settle`: what sweeps have done, and seeds for what they left undecided."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from augean.cli.json_option import add_json_option, messages_on_stderr
from augean.cli.parser import (
    Commands,
    Parser,
    add_command,
    add_outputs_option,
    add_sweep_arguments,
    check_outputs,
    positive_number,
    read_sweep_arguments,
)
from augean.errors import AugeanError, UsageError
from augean.override_key import outputs_override
from augean.store.record_identity import identifying_overrides, same_overrides

if TYPE_CHECKING:
    from augean.monitor.sweep_status import SweepStatus
    from augean.store.run_progress import RunProgress
    from augean.store.sweep_record import SweepJob, SweepRecord
    from augean.sweeps.planned_jobs import SweepPlan
    from augean.sweeps.settle import Settling

STATUS_EXAMPLES = """
augean status                                             all sweeps of ./outputs
augean status table1                                      those whose name begins so
augean status table3_width experiment=demo     before its launch: is it in order, how long?
augean status -m optimizer=sgd,adam seed=0,1              the same for a grid
"""
SETTLE_EXAMPLES = """
augean settle table1_activation --dry-run                 what is undecided, what it may cost
augean settle table1_activation --budget 2h               seeds for those rows, for two hours
augean settle table1_activation experiment=demo           with overrides, as it was launched
"""


DEFAULT_OUTPUTS = Path("outputs")


def add_commands(commands: Commands) -> None:
    _add_status(commands)
    _add_settle(commands)


def _add_outputs_option(parser: Parser) -> None:
    add_outputs_option(parser)
    # Without the option a sweep file may name the folder, see `_find_outputs`.
    parser.set_defaults(outputs=None)


def _add_status(commands: Commands) -> None:
    parser = add_command(
        commands,
        "status",
        run_status,
        summary="runs of each sweep by their state; of one that was not launched yet: what it would"
        " do",
        examples=STATUS_EXAMPLES,
    )
    _add_outputs_option(parser)
    add_json_option(parser)
    add_sweep_arguments(
        parser, sweep_help="only sweeps whose name begins with this; or a sweep file"
    )


def run_status(arguments: argparse.Namespace) -> int:
    """Print each sweep's runs by state, and the commands that train missing or outdated ones.

    Returns:
        2 where a record or the file of a SLURM array is damaged, or a run may not be read; else 0.
    """
    from augean.store.sweep_record import read_records

    sweep, overrides = read_sweep_arguments(arguments)
    outputs = _find_outputs(arguments, sweep, overrides)
    # The default folder may be missing before the first launch; any other is probably a typo.
    if not sweep and not overrides and outputs != DEFAULT_OUTPUTS:
        check_outputs(outputs)
    # Choose the records that the words are about: of one sweep, of one grid, or all.
    all_records, problems = read_records(outputs)
    records = all_records
    plan = None
    if sweep:
        records = [record for record in records if record.was_asked_as(sweep, overrides)]
    elif arguments.multirun:
        from augean.sweeps.plan import plan_for

        # Planning logs values that it fills in, such as dataset.num_val.
        with messages_on_stderr(arguments.json):
            plan = plan_for(outputs, "config", overrides, arguments.config_dir)
        records = [record for record in records if record.name == plan.record.name]
    elif overrides:
        words = " ".join(overrides)
        raise AugeanError(
            f"{words}: overrides of which sweep? Name it, as in augean status <sweep> {words}, or"
            f" preview a grid: augean status -m {words}"
        )
    if not records and sweep:
        names = [record.name for record in all_records]
        _check_sweep_name(sweep, outputs, arguments.config_dir, names)
    if not records and not arguments.json:
        # What was not launched yet is previewed.
        if sweep:
            from augean.sweeps.plan import plan_for

            return _print_plan(plan_for(outputs, sweep, overrides, arguments.config_dir))
        if plan is not None:
            return _print_plan(plan)
        example = "augean train -cn table1_activation experiment=demo"
        print(f"No sweep was launched into {outputs} yet. For example: {example}")
    status = _print_status(outputs, records, problems, as_json=arguments.json)
    # The document has all there is, so that no text follows it on standard output.
    if arguments.json:
        return status
    # What is asked for as in a launch may be other runs than at the last one.
    names_file = arguments.config_name is not None or arguments.config_dir is not None
    if sweep and names_file:
        _print_changed_file(sweep, overrides, outputs, arguments.config_dir, records)
    elif plan is not None and plan.record.kind == "grid":
        _print_changes(records, plan)
    return status


def _print_changes(records: "Sequence[SweepRecord]", grid: "SweepPlan") -> None:
    """Print what a grid on the command line asks for that its record lacks, and the reverse."""
    from augean.sweeps.preview import describe_changes

    for record in records:
        for line in describe_changes(record, grid):
            print(line)


def _print_changed_file(
    sweep: str,
    overrides: Sequence[str],
    outputs: Path,
    config_dir: Path | None,
    records: "Sequence[SweepRecord]",
) -> None:
    """Print what a sweep file asks for that its record lacks, and the other way round.

    Raises:
        AugeanError: for whatever is wrong with the file.
    """
    from augean.sweeps.preview import describe_changed_file

    identity = identifying_overrides(overrides)
    for record in records:
        is_same = record.is_of(sweep) and same_overrides(record.overrides, identity)
        if is_same and record.kind == "grid":
            for line in describe_changed_file(record, outputs, sweep, overrides, config_dir):
                print(line)


def _print_status(
    outputs: Path, records: "Sequence[SweepRecord]", problems: list[str], *, as_json: bool
) -> int:
    """Print launched sweeps with their runs by state; return the exit status."""
    from augean.monitor.sweep_status import StatusReader
    from augean.sweeps.slurm import Queue, queued

    # Without an answer of SLURM the states of the runs are still right.
    try:
        queue = queued(outputs)
    except AugeanError as error:
        print(error, file=sys.stderr)
        queue = Queue()
    reader = StatusReader(outputs, by_lock=True)
    statuses = [reader.read(record) for record in records]
    problems = [*problems, *queue.problems, *reader.problems]
    if as_json:
        print(_status_document(outputs, statuses, queue.states, problems))
    else:
        _print_sweeps(outputs, statuses, queue.states)
    # Last, where they are seen: damaged records may be why a sweep is not listed.
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


def _status_document(
    outputs: Path,
    statuses: "Sequence[SweepStatus]",
    slurm_jobs: dict[str, str],
    problems: Sequence[str],
) -> str:
    """Return the states of sweeps as a JSON document."""
    from augean.cli.json_document import document, sweep_entry
    from augean.sweeps.slurm import describe_queue

    sweeps = []
    for status in statuses:
        queue = describe_queue(status.record, slurm_jobs)
        sweeps.append(sweep_entry(status, queue=queue))
    return document("status", outputs, sweeps, problems)


def _find_outputs(
    arguments: argparse.Namespace, sweep: str | None, overrides: Sequence[str]
) -> Path:
    """Return the output folder that a command line names, else that of its sweep file."""
    # The words are those of the launch, which names its folder as an override.
    place = outputs_override(overrides)
    # Interpolations are left to Hydra, which alone can resolve them.
    if place is not None and "${" not in place:
        return Path(place).expanduser()
    if arguments.outputs is not None:
        return Path(arguments.outputs)
    if sweep is not None:
        from augean.config.paths import outputs_of_file

        place = outputs_of_file(sweep, arguments.config_dir)
        if place is not None:
            return Path(place).expanduser()
    return DEFAULT_OUTPUTS


def _check_sweep_name(
    sweep: str, outputs: Path, config_dir: Path | None, launched_names: Sequence[str]
) -> None:
    """Refuse the name of a sweep that was not launched and has no file.

    Args:
        launched_names: names of all launched sweeps, for a suggestion.

    Raises:
        AugeanError: with the names that there are.
    """
    from augean.config.paths import sweep_folders, yaml_names
    from augean.suggestions import list_choices

    folders = sweep_folders(config_dir)
    files = [name for folder in folders for name in yaml_names(folder)]
    if sweep not in files:
        choices = list_choices(sweep, [*launched_names, *files], "")
        raise AugeanError(
            f"{sweep}: no sweep in {outputs}, and no sweep file in {folders[0]}{choices}"
        )


def _print_plan(plan: "SweepPlan") -> int:
    """Print what a planned sweep would do.

    Raises:
        AugeanError: for a network that cannot be built.
    """
    from augean.sweeps.preview import describe_plan

    print(*describe_plan(plan), sep="\n")
    return 0


def _print_sweeps(
    outputs: Path, statuses: "Sequence[SweepStatus]", slurm_jobs: dict[str, str]
) -> None:
    """Print the progress of sweeps, and what is outdated in them."""
    from augean.analysis.freshness import FreshnessCheck, describe_record
    from augean.store.record_titles import distinct_titles

    check = FreshnessCheck(outputs)
    titles = distinct_titles(status.record for status in statuses)
    for status in statuses:
        _print_sweep(status, titles[status.record.name], outputs, slurm_jobs)
        for line in describe_record(status.record, check):
            print(f"  {line}")


def _print_sweep(
    status: "SweepStatus", title: str, outputs: Path, slurm_jobs: dict[str, str]
) -> None:
    """Print the progress of one sweep, and the commands that go on with it."""
    from augean.config.override_text import command_in
    from augean.monitor.view import describe_study
    from augean.store.summary import RunState
    from augean.sweeps.slurm import describe_queue
    from augean.terminal import coloured

    record = status.record
    states = status.states
    parts = [coloured(f"{states[state]} {state}", state) for state in RunState if states[state]]
    # Trials are counted by their own states, not by those of their runs: the run of a pruned trial
    # is interrupted, but the trial is done.
    if record.kind == "study":
        parts.insert(0, describe_study(record))
    print(f"{record.name} ({title}): {', '.join(parts)}")
    for run in status.in_state(RunState.RUNNING):
        # A run that has just begun has no progress yet.
        if run.progress is not None:
            _print_progress(run.job, run.progress)
    if not status.is_complete:
        if waiting := describe_queue(record, slurm_jobs):
            print(f"  in SLURM's queue: {waiting}")
        for command in status.commands:
            print(f"  to go on: {command_in(command, outputs)}")


def _print_progress(job: "SweepJob", progress: "RunProgress") -> None:
    """Print how far a running run is."""
    from augean.terminal import readable_seconds

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
    add_sweep_arguments(
        parser, sweep_help="name of a sweep file, such as table1_activation", with_grid=False
    )
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
    _add_outputs_option(parser)
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
    sweep, overrides = read_sweep_arguments(arguments)
    if sweep is None:
        raise UsageError("augean settle: the following arguments are required: sweep")
    settling = Settling(
        sweep,
        arguments.config_dir,
        _find_outputs(arguments, sweep, overrides),
        overrides,
        design,
        arguments.budget,
    )
    with messages_on_stderr(arguments.json):
        try:
            status = settling.run(dry=arguments.dry_run)
        except SystemExit as stop:
            if not arguments.json or not isinstance(stop.code, int):
                raise
            # A sweep that failed or was stopped has a document too: it says how far it came.
            status = stop.code
        text = _settle_document(settling) if arguments.json else ""
    if arguments.json:
        print(text)
    return status


def _settle_document(settling: "Settling") -> str:
    """Return the table that is being settled as a JSON document."""
    from augean.analysis.comparison import summarise
    from augean.analysis.load import scan
    from augean.cli.json_document import document, table_entry

    # A dry run of a sweep that was never launched leaves no record: the document has no sweep.
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
