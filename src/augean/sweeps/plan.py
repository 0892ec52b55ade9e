"""Plan a sweep: compose, check and address its jobs and draft its record.

Nothing here trains, writes or prints. Grid, study, preview, settling and submission share the plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from augean.config.sweep_rows import STUDY_PREFIX, read_rows, words_of_file
from augean.config.sweeper_options import SweepOptions, read_options
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.errors import AugeanError, ConfigError
from augean.store.sweep_record import (
    SweepRecord,
    read_record,
)
from augean.sweeps.composition import Composition, compose_sweep
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan, plan_jobs
from augean.sweeps.points import (
    EMPTY_SWEEP,
    Point,
    bare_key,
    expand,
    insert_settings,
    keep_text,
    read_finished_study,
    refuse_settings,
    refuse_several_values,
    swept_keys,
    with_row_labels,
    without_seed,
)
from augean.sweeps.record_draft import RecordDraft
from augean.sweeps.studies.planning import plan_study


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
    # Parsed twice: only a parsed line shows that a title holds a comma, and needs quotes.
    lines = keep_text(composition.parse([*options.lines(), *arguments]))
    overrides = composition.parse(lines)
    axes = swept_keys(overrides)
    # Also those that a later override replaces by a single value: they are mistakes as well.
    refuse_settings(bare_key(item) for item in overrides if item.is_sweep_override())
    draft = RecordDraft(composition, arguments, axes=axes)
    if options.sweeper.n_trials is None:
        plan = _plan_grid(composition, options, overrides, draft)
    else:
        plan = plan_study(composition, options, overrides, draft, with_samples=with_samples)
    return replace(plan, notice=options.notice)


def _plan_grid(
    composition: Composition,
    options: SweepOptions,
    overrides: Sequence[Override],
    draft: RecordDraft,
) -> SweepPlan:
    for name in ("timeout", "confirm", "custom_search_space"):
        if getattr(options.sweeper, name) != getattr(AugeanSweeperConfig(), name):
            raise ConfigError(f"hydra.sweeper.{name}: a grid has none; for a study add n_trials")
    outputs = Path(composition.master.runtime.outputs)
    words = words_of_file(composition.master)
    rows = read_rows(options.sweeper.rows, options.sweeper.ablate, words)
    studies: dict[str, SweepRecord] = {}
    for label, items in rows.items():
        refuse_settings(items)
        own_overrides = []
        for item in items:
            if item.startswith(STUDY_PREFIX):
                studies[item] = read_finished_study(outputs, item, draft.suffix, draft.overrides)
            else:
                own_overrides.append(item)
        refuse_several_values(label, composition.parse(own_overrides))
    # Every row at every point of the overrides' product.
    points = []
    for point in expand(overrides):
        for label, items in rows.items():
            row_overrides = insert_settings(items, studies)
            points.append(Point(overrides=(*point, *row_overrides), row=label))
    jobs = plan_jobs(composition, points, draft.axes)
    if not jobs:
        raise ConfigError(EMPTY_SWEEP)
    # An earlier `augean settle` may have noted seeds in the record: their jobs come last.
    record = draft.make(jobs[0].config, studies=list(studies.values()))
    record = replace(record, design=_read_design(outputs, record.name))
    record = with_row_labels(record, [job.row for job in jobs])
    seeds = record.design.get("seeds", {})
    jobs += plan_jobs(composition, _further_seeds(jobs, seeds))
    record = replace(record, jobs=[job.as_sweep_job() for job in jobs])
    return SweepPlan(record=record, jobs=jobs)


def _further_seeds(jobs: Sequence[PlannedJob], num_seeds: Mapping[str, int]) -> list[Point]:
    """List the points with the seeds that `augean settle` added to rows of the grid.

    Args:
        num_seeds: row to the number of seeds that it is to have, those of the grid included.
    """
    points = []
    for row, number in num_seeds.items():
        row_jobs = [job for job in jobs if job.row == row]
        if not row_jobs:
            continue  # a row that this launch leaves out
        shared = without_seed(row_jobs[0].overrides)
        seeds = {job.config.seed for job in row_jobs}
        first = max(seeds) + 1
        for seed in range(first, first + number - len(seeds)):
            points.append(Point(overrides=(*shared, f"seed={seed}"), row=row))
    return points


def _read_design(outputs: Path, name: str) -> dict[str, Any]:
    """Read the design that `augean settle` has noted, which a plain launch must not forget."""
    path = outputs / "sweeps" / f"{name}.json"
    if not path.exists():
        return {}
    try:
        return read_record(path).design
    except AugeanError as error:
        raise AugeanError(f"{error}; move it away to have it written anew") from error
