"""Plan a sweep: compose, check and address its jobs and draft its record.

Nothing here trains, writes or prints. Grid, study, preview, settling and submission share the plan.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from augean.config.labels import given_label, value_label
from augean.config.override_errors import explain_error
from augean.config.schema import Config
from augean.config.sweep_rows import STUDY_PREFIX, read_rows, words_of_file
from augean.config.sweeper_options import SweepOptions, check_study_options, read_options
from augean.config.validation import flatten_config
from augean.errors import AugeanError, ConfigError
from augean.override_key import override_key
from augean.runs.address import RunAddress, find_address, with_open_values
from augean.store.sweep_record import (
    NOT_PART,
    SweepJob,
    SweepRecord,
    identifying_overrides,
    read_record,
)
from augean.sweeps.composition import Composition, compose_sweep, parse_search_space
from augean.sweeps.points import (
    EMPTY_SWEEP,
    Point,
    bare_key,
    check_study_name,
    column_label,
    describe_budget,
    effective,
    expand,
    insert_winners,
    keep_text,
    read_winner,
    refuse_luck,
    refuse_settings,
    refuse_several_values,
    swept_keys,
    table_keys,
    with_row_labels,
    without_seed,
)
from augean.sweeps.sampler import SearchSpace, make_sampler, spanning_points, visits_all_points
from augean.sweeps.workers import command_line


@dataclass(frozen=True)
class PlannedJob:
    """One job, composed, checked and addressed."""

    overrides: tuple[str, ...]
    row: str
    config: Config
    address: RunAddress

    def as_sweep_job(self) -> SweepJob:
        """Return the job as the sweep's record has it."""
        return SweepJob(
            id=self.address.id,
            run=self.address.path.name,
            row=self.row,
            seed=self.config.seed,
            column=column_label(self.config),
        )


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep asks for, known before anything runs."""

    record: SweepRecord
    """As the launch will write it; that of a study has no trials yet."""
    jobs: list[PlannedJob]
    """All jobs of a grid. Of a study first its base, with the overrides that all trials share, then
    points that show its whole space; none of these is trained."""
    space: SearchSpace = field(default_factory=SearchSpace)
    """What a study searches; empty in a grid."""
    notice: str | None = None
    """The line that says how a file for another sweeper was translated."""

    @property
    def config(self) -> Config:
        """The config of the first job; what is under `runtime` is the same for all."""
        return self.jobs[0].config

    @property
    def outputs(self) -> Path:
        """The output folder, which all jobs share."""
        return self.jobs[0].address.outputs


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
    draft = _RecordDraft(composition, arguments, axes=axes)
    if options.sweeper.n_trials is None:
        plan = _plan_grid(composition, options, overrides, draft)
    else:
        plan = _plan_study(composition, options, overrides, draft, with_samples=with_samples)
    return replace(plan, notice=options.notice)


def _plan_grid(
    composition: Composition,
    options: SweepOptions,
    overrides: Sequence[Override],
    draft: "_RecordDraft",
) -> SweepPlan:
    outputs = Path(composition.master.runtime.outputs)
    words = words_of_file(composition.master)
    rows = read_rows(options.sweeper.rows, options.sweeper.ablate, words)
    winners: dict[str, SweepRecord] = {}
    for label, items in rows.items():
        refuse_settings(items)
        own_overrides = []
        for item in items:
            if item.startswith(STUDY_PREFIX):
                winners[item] = read_winner(outputs, item, draft.suffix, draft.overrides)
            else:
                own_overrides.append(item)
        refuse_several_values(label, composition.parse(own_overrides))
    # Every row at every point of the overrides' product.
    points = []
    for point in expand(overrides):
        for label, items in rows.items():
            row_overrides = insert_winners(items, winners)
            points.append(Point(overrides=(*point, *row_overrides), row=label))
    jobs = plan_jobs(composition, points, draft.axes)
    if not jobs:
        raise ConfigError(EMPTY_SWEEP)
    # An earlier `augean settle` may have noted seeds in the record: their jobs come last.
    record = draft.make(jobs[0].config, studies=list(winners.values()))
    record = replace(record, design=_read_design(outputs, record.name))
    record = with_row_labels(record, [job.row for job in jobs])
    seeds = record.design.get("seeds", {})
    jobs += plan_jobs(composition, _further_seeds(jobs, seeds))
    record = replace(record, jobs=[job.as_sweep_job() for job in jobs])
    return SweepPlan(record=record, jobs=jobs)


def _plan_study(
    composition: Composition,
    options: SweepOptions,
    overrides: Sequence[Override],
    draft: "_RecordDraft",
    *,
    with_samples: bool,
) -> SweepPlan:
    sweeper = options.sweeper
    if sweeper.rows or sweeper.ablate:
        raise ConfigError(
            "hydra.sweeper.rows and ablate make a grid: leave hydra.sweeper.n_trials out"
        )
    check_study_options(sweeper)
    search = parse_search_space(effective(overrides))
    space = search.distributions
    if not space:
        raise ConfigError(
            "hydra.sweeper.n_trials makes a study, which needs something to search: "
            "for example optimizer.lr='tag(log,interval(1e-4,1))' or activation=relu,elu"
        )
    refuse_luck(search.texts)
    check_study_name(Path(composition.master.runtime.outputs), sweeper.study_name)
    # Trials are not known yet. What is wrong with the space shows in points at its ends.
    points = [Point(overrides=search.fixed, row="base")]
    if with_samples:
        for params in spanning_points(space):
            sample = search.assignments(params)
            points.append(Point(overrides=(*search.fixed, *sample), row=" ".join(sample)))
    jobs = plan_jobs(composition, points)
    base = jobs[0]
    if base.config.dataset.num_val == 0:
        raise ConfigError(
            "dataset.num_val=0: a study chooses by validation accuracy, hold out images for it"
        )
    make_sampler(sweeper.sampler, space, 0)  # refuses what it cannot sample
    num_trials = sweeper.n_trials or 0
    if visits_all_points(sweeper.sampler):
        num_trials = min(num_trials, len(search.points()))
    record = replace(
        draft.make(base.config, name=sweeper.study_name),
        kind="study",
        direction="minimize" if sweeper.direction == "minimize" else "maximize",
        num_trials=num_trials,
        space=dict(search.texts),
    )
    return SweepPlan(record=record, jobs=jobs, space=search)


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


def plan_jobs(
    composition: Composition, points: Sequence[Point], axes: Sequence[str] = ()
) -> list[PlannedJob]:
    """Compose, check and address jobs.

    Args:
        axes: swept keys, of which a row's label is made where no row key does.

    Raises:
        AugeanError: for all configs that are wrong, with the first job that each mistake is in.
    """
    jobs = []
    mistakes: list[tuple[str, Point]] = []
    for point in points:
        try:
            jobs.append(_plan_job(composition, point, axes))
        except (ConfigError, HydraException, OmegaConfBaseException, ValueError) as error:
            text = explain_error(error, point.overrides)
            if text is None:
                raise
            mistakes.append((text, point))
    if mistakes:
        raise ConfigError(_describe_mistakes(mistakes, len(points)))
    return jobs


def _plan_job(composition: Composition, point: Point, axes: Sequence[str]) -> PlannedJob:
    config = with_open_values(composition.compose(point.overrides))
    flat = flatten_config(config)
    table = config.runtime.table
    row_keys = table_keys(table, has_rows=point.row is not None)
    for key in (*row_keys, table.band):
        if key and key not in flat:
            raise ConfigError(
                f"runtime.table: {key} is not a key of the config; for example activation.name"
            )
    if row_keys and point.row is None:
        labels = [value_label(key, flat[key]) for key in row_keys]
    else:
        row_axes = [axis for axis in axes if axis != "seed"]
        labels = []
        for item in point.overrides:
            if override_key(item) in row_axes and "=" in item:
                labels.append(item.split("=", 1)[1])
    if point.row is not None:
        # Rows may be multiplied by swept keys, whose values then tell them apart.
        labels.insert(0, point.row)
    return PlannedJob(
        overrides=point.overrides,
        row=", ".join(labels) or "all",
        config=config,
        address=find_address(config),
    )


def _describe_mistakes(mistakes: Sequence[tuple[str, Point]], num_points: int) -> str:
    """Return each mistake once, with the first job that it is in and how many more have it."""
    jobs_by_mistake: defaultdict[str, list[str]] = defaultdict(list)
    for text, point in mistakes:
        own = [item for item in point.overrides if not NOT_PART.match(item)]
        jobs_by_mistake[text].append(" ".join(own))
    if len(jobs_by_mistake) == 1 and len(mistakes) == num_points:
        return mistakes[0][0]  # all jobs have it, so naming one of them would mislead
    paragraphs = []
    for text, jobs in jobs_by_mistake.items():
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        says_its_job = text.startswith(f"{jobs[0]}:")
        paragraphs.append(text if says_its_job else f"{text}\n  in {jobs[0]}{more}")
    return "\n".join(paragraphs)


# The record


class _RecordDraft:
    """What a sweep's record says of the launch, before any job is composed."""

    def __init__(
        self, composition: Composition, arguments: Sequence[str], axes: Sequence[str]
    ) -> None:
        self.master = composition.master
        self.axes = axes
        self.overrides = identifying_overrides([*arguments, *self.master.hydra.overrides.hydra])
        # `++seed=0,1` asks for the same runs as `seed=0,1`.
        identity = [item.lstrip("+") for item in self.overrides]
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        self.suffix = f"--{digest[:8]}" if self.overrides else ""
        """Ends the record's name, so that other overrides have another record."""

    def make(
        self, config: Config, studies: Sequence[SweepRecord] = (), name: str | None = None
    ) -> SweepRecord:
        """Return the record without jobs.

        Args:
            config: of any job.
            studies: whose winners are rows.
            name: in place of the one that is made of the sweep file and the overrides.
        """
        table = config.runtime.table
        budgets = [describe_budget(study) for study in studies]
        notes = [table.note, *budgets]
        reference = {given_label(row): dict(item) for row, item in table.reference.items()}
        return SweepRecord(
            name=name or self._name(),
            title=table.title or self._title(),
            figure=table.figure,
            note=" ".join(note for note in notes if note) or None,
            command=command_line(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            experiment=self.master.hydra.runtime.choices.get("experiment"),
            overrides=self.overrides,
            studies=[study.name for study in studies],
            row_keys=table_keys(table),
            column=table.column,
            band=table.band,
            baseline=table.baseline,
            reference=reference,
            reference_dataset=table.reference_dataset,
            jobs=[],
        )

    def _name(self) -> str:
        name = str(self.master.hydra.job.config_name)
        if name == "config":  # not a sweep file
            keys = [key for key in self.axes if key != "seed"]
            name = "+".join(keys) or "runs"
        return re.sub(r"[^A-Za-z0-9_.+-]", "_", name[:120] + self.suffix)

    def _title(self) -> str:
        if not self.axes:
            return "Runs"
        keys = [key for key in self.axes if key != "seed"]
        return f"Sweep of {', '.join(keys) or 'seed'}"


def _read_design(outputs: Path, name: str) -> dict[str, Any]:
    """Read the design that `augean settle` has noted, which a plain launch must not forget."""
    path = outputs / "sweeps" / f"{name}.json"
    if not path.exists():
        return {}
    try:
        return read_record(path).design
    except AugeanError as error:
        raise AugeanError(f"{error}; move it away to have it written anew") from error
