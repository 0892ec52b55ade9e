"""Plan a sweep: compose, check and address its jobs and draft its record.

Nothing here trains, writes or prints. Grid, study, preview, settling and submission share the plan.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from hydra.core.override_parser.types import Override

from augean.config.override_text import override_text
from augean.config.sweep_rows import STUDY_PREFIX, read_rows, words_of_file
from augean.config.sweeper_options import SweepOptions, read_options
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.errors import AugeanError, ConfigError
from augean.store.record_identity import record_path
from augean.store.sweep_record import SweepJob, SweepRecord, read_record
from augean.sweeps.composition import Composition, compose_sweep
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan, plan_jobs
from augean.sweeps.points import (
    Point,
    insert_settings,
    read_finished_study,
    refuse_other_choices,
    refuse_settings,
    refuse_several_values,
    with_row_labels,
    without_seed,
)
from augean.sweeps.record_draft import RecordDraft
from augean.sweeps.studies.planning import plan_study
from augean.sweeps.sweep_overrides import (
    EMPTY_SWEEP,
    bare_key,
    expand,
    refuse_functions_among_values,
    swept_keys,
)

STUDY_OPTIONS = (
    "timeout",
    "confirm",
    "final_seeds",
    "max_failures",
    "direction",
    "study_name",
    "custom_search_space",
)
"""Keys of `hydra.sweeper` that ask for a study."""


def plan_file(name: str, overrides: Sequence[str] = (), folder: Path | None = None) -> SweepPlan:
    """Plan a sweep file outside a command line of Hydra's.

    Args:
        folder: of the sweep file, if it is not one of Augean's own.

    Raises:
        AugeanError: for whatever is wrong with the file or the overrides.
    """
    with compose_sweep(name, overrides, folder) as composition:
        options = read_options(composition.master)
        return plan_sweep(composition, options, composition.arguments)


def plan_sweep(
    composition: Composition,
    options: SweepOptions,
    arguments: Sequence[str],
    *,
    with_samples: bool = True,
) -> SweepPlan:
    """Plan what a sweep's options and the command line ask for.

    Args:
        arguments: overrides of the command line, some with several values.
        with_samples: check a study's whole space. Its workers do not: the process that started
            them has done so.

    Raises:
        AugeanError: for whatever is wrong with it.
    """
    overrides = composition.parse([*options.lines(), *arguments])
    refuse_functions_among_values(overrides)
    axes = swept_keys(overrides)
    # Also those that a later override replaces by a single value: they are mistakes as well.
    refuse_settings(bare_key(item) for item in overrides if item.is_sweep_override())
    draft = RecordDraft(composition, arguments, axes=axes)
    if options.sweeper.n_trials is None:
        plan = _plan_grid(composition, options, overrides, draft)
    else:
        plan = plan_study(composition, options, overrides, draft, with_samples=with_samples)
    return replace(plan, notice=options.notice)


def plan_for(
    outputs: Path, name: str, overrides: Sequence[str], folder: Path | None = None
) -> SweepPlan:
    """Plan a sweep as its launch into a folder would.

    Args:
        name: of a sweep file; `config` for a sweep that is on the command line alone.
        folder: of the sweep file, if it is not one of Augean's own.

    Raises:
        AugeanError: for whatever is wrong, with the rows that it is wrong in.
    """
    place = override_text(str(outputs), "runtime.outputs")
    return plan_file(name, [f"runtime.outputs={place}", *overrides], folder)


def _plan_grid(
    composition: Composition,
    options: SweepOptions,
    overrides: Sequence[Override],
    draft: RecordDraft,
) -> SweepPlan:
    _refuse_options_of_studies(options.sweeper)
    outputs = Path(composition.master.runtime.outputs)
    words = words_of_file(composition.master)
    rows = read_rows(options.sweeper.rows, options.sweeper.ablate, words)
    studies = _read_studies(composition, rows, draft)
    # Every row at every point of the overrides' product.
    points = []
    for point in expand(overrides):
        for label, items in rows.items():
            row_overrides = insert_settings(items, studies)
            points.append(Point(overrides=(*point, *row_overrides), row=label))
    jobs = plan_jobs(composition, points, draft.axes)
    if not jobs:
        raise ConfigError(EMPTY_SWEEP)
    without_jobs = draft.make(jobs[0].config, studies=list(studies.values()))
    earlier = read_earlier_record(outputs, without_jobs.name)
    record = with_additions(_with_jobs(without_jobs, jobs), earlier)
    _refuse_other_comparison(record, [job.row for job in jobs])
    # An earlier `augean settle` may have noted a design in the record, and seeds in that: their
    # jobs come last.
    settled_jobs = earlier.jobs if earlier is not None and earlier.design else []
    settled_seeds = _own_seeds(settled_jobs)
    _refuse_seeds_before_others(record.name, jobs, settled_seeds)
    further_points = _further_seeds(points, jobs, record.design.get("seeds", {}), settled_seeds)
    jobs += plan_jobs(composition, further_points, draft.axes)
    record = with_additions(_with_jobs(without_jobs, jobs), earlier)
    return SweepPlan(record=record, base=jobs[0], jobs=jobs)


def _with_jobs(record: SweepRecord, jobs: Sequence[PlannedJob]) -> SweepRecord:
    return replace(record, jobs=[job.as_sweep_job() for job in jobs])


def _refuse_options_of_studies(sweeper: AugeanSweeperConfig) -> None:
    """Refuse options that only a study has: `n_trials` was probably forgotten.

    Not `storage`, sampler and pruner, which a file may set for all of its sweeps.
    """
    for name in STUDY_OPTIONS:
        if getattr(sweeper, name) != getattr(AugeanSweeperConfig(), name):
            raise ConfigError(f"hydra.sweeper.{name}: a grid has none; for a study add n_trials")


def _read_studies(
    composition: Composition, rows: Mapping[str | None, Sequence[str]], draft: RecordDraft
) -> dict[str, SweepRecord]:
    """Check the overrides of the rows; return the studies that they name, by `study:<name>`.

    Raises:
        AugeanError: for an override with several values, for one of the sweep as a whole, and for
            a study that is not finished or made other choices.
    """
    outputs = Path(composition.master.runtime.outputs)
    studies: dict[str, SweepRecord] = {}
    for label, items in rows.items():
        refuse_settings(items)
        own_overrides = []
        for item in items:
            if item.startswith(STUDY_PREFIX):
                study = read_finished_study(outputs, item, draft.suffix, draft.overrides)
                refuse_other_choices(item, study, draft.choices)
                studies[item] = study
            else:
                own_overrides.append(item)
        refuse_several_values(label, composition.parse(own_overrides))
    return studies


def with_additions(record: SweepRecord, earlier: SweepRecord | None) -> SweepRecord:
    """Return the record with the design of `augean settle` and the runs of custom loops.

    These are in the earlier one, and no launch plans them.

    Raises:
        ConfigError: for a baseline that is not among the rows.
    """
    if earlier is not None:
        own = [job for job in record.jobs if job.command is None]
        joined = [job for job in earlier.jobs if job.command is not None]
        # A loop may have named the baseline, too, and that may be its own row.
        baseline = record.baseline or (earlier.baseline if joined else None)
        record = replace(record, design=earlier.design, jobs=[*own, *joined], baseline=baseline)
    return with_row_labels(record)


def _own_seeds(jobs: Iterable[SweepJob]) -> dict[str, set[int]]:
    """Return the seeds of each row that the sweep's own command trains."""
    seeds: dict[str, set[int]] = {}
    for job in jobs:
        if job.command is None:
            seeds.setdefault(job.row, set()).add(job.seed)
    return seeds


def _further_seeds(
    points: Sequence[Point],
    jobs: Sequence[PlannedJob],
    num_seeds: Mapping[str, int],
    settled_seeds: Mapping[str, Set[int]],
) -> list[Point]:
    """List the points with the seeds that rows of a settled grid have beside those of the grid.

    Args:
        points: of the grid.
        jobs: one for each of them.
        num_seeds: row to the number of seeds that `augean settle` wants it to have, those of the
            grid included.
        settled_seeds: those of the earlier record, which stay in the table: verdicts rest on them.
    """
    indices: dict[str, list[int]] = {}
    for index, job in enumerate(jobs):
        indices.setdefault(job.row, []).append(index)
    further_points = []
    for row, of_row in indices.items():
        point = points[of_row[0]]
        shared = without_seed(point.overrides)
        seeds = {jobs[index].config.seed for index in of_row}
        earlier = settled_seeds.get(row, set())
        further = sorted(earlier - seeds)
        first = max(seeds | earlier) + 1
        further += range(first, first + num_seeds.get(row, 0) - len(seeds | earlier))
        for seed in further:
            further_points.append(Point(overrides=(*shared, f"seed={seed}"), row=point.row))
    return further_points


def read_earlier_record(outputs: Path, name: str) -> SweepRecord | None:
    """Read the record of an earlier launch, of which a plain launch must not forget some things.

    Raises:
        AugeanError: when it is damaged, or that of a study, which this one would overwrite.
    """
    path = record_path(outputs, name)
    if not path.exists():
        return None
    record = read_record(path)
    if record.kind == "study":
        raise AugeanError(
            f"{path}: is the record of a study, which this grid would overwrite; give the sweep"
            " file another name, or use another runtime.outputs"
        )
    return record


def _refuse_other_comparison(record: SweepRecord, rows: Sequence[str]) -> None:
    """Refuse another baseline, or fewer rows, than those with which settling began.

    Args:
        record: of this launch, with the design of the earlier one.
        rows: labels of this launch.

    Raises:
        AugeanError: with what has changed.
    """
    changes = []
    baseline = record.design.get("baseline", record.baseline)
    if baseline != record.baseline:
        changes.append(f"runtime.table.baseline={baseline}")
    missing_rows = [str(row) for row in record.design.get("rows", []) if row not in rows]
    if missing_rows:
        changes.append(f"the rows {', '.join(missing_rows)}")
    if changes:
        raise AugeanError(
            f"{record.name} is being settled with {' and '.join(changes)}: a comparison that is"
            " chosen once results were seen keeps no error rate. Give that, or settle a copy of"
            " the sweep file under a name of its own"
        )


def _refuse_seeds_before_others(
    name: str, jobs: Sequence[PlannedJob], settled_seeds: Mapping[str, Set[int]]
) -> None:
    """Refuse new seeds of a row that would come before those with which it was settled.

    A look compares the first seeds of two rows, so looks that were taken would become others.

    Raises:
        AugeanError: with the first such seed.
    """
    for job in jobs:
        seeds = settled_seeds.get(job.row, set())
        if seeds and job.config.seed not in seeds and job.config.seed < max(seeds):
            raise AugeanError(
                f"seed={job.config.seed}: {name} is being settled, with seeds up to {max(seeds)} of"
                f" {job.row}, and one before them would change what was decided. Give greater ones,"
                " or settle a copy of the sweep file under a name of its own"
            )
