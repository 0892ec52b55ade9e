"""Compose, check and address the jobs of a sweep.

Nothing here trains, writes or prints.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from augean.config.instantiate import refusing_exit
from augean.config.labels import value_label
from augean.config.override_errors import explain_error
from augean.config.override_text import readable
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.datasets.split import check_last_batch, check_sizes
from augean.errors import ConfigError
from augean.override_key import override_key
from augean.runs.address import (
    RunAddress,
    build_source,
    count_train_images,
    fill_open_values,
    find_address,
    find_outcome,
)
from augean.store.record_identity import NOT_IDENTIFYING
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.sweeps.composition import Composition
from augean.sweeps.points import Point, column_label, table_keys
from augean.sweeps.studies.custom_space import CustomSpace
from augean.sweeps.studies.sampler import SearchSpace


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
    base: PlannedJob
    """A job with what all of them share, such as the values under `runtime`: the first of a grid;
    of a study one of the overrides that all its trials have in common."""
    jobs: list[PlannedJob] = field(default_factory=list)
    """What a launch trains; empty for a study, which chooses its trials as it goes."""
    samples: list[PlannedJob] = field(default_factory=list)
    """Points that show the whole space of a study; none of them is trained."""
    space: SearchSpace = field(default_factory=SearchSpace)
    """What a study searches; empty in a grid."""
    custom: CustomSpace | None = None
    """What asks a study's trials for further values."""
    default: Mapping[str, Any] | None = None
    """The point of a study's default configuration, its trial 0."""
    num_final_seeds: int = 0
    """Seeds that a study's winner is to be trained with."""
    remark: str | None = None
    """Why a study has no such trial; None where it has one, or where its sampler visits all."""
    notice: str | None = None
    """The line that says how a file for another sweeper was translated."""

    @property
    def config(self) -> Config:
        """The config of the base; what is under `runtime` is the same for all jobs."""
        return self.base.config

    @property
    def outputs(self) -> Path:
        """The output folder, which all jobs share."""
        return self.base.address.outputs

    @property
    def runs_digest(self) -> str:
        """A digest of the ids of all runs, by which two plans of a grid can be compared."""
        ids = sorted({job.address.id for job in self.jobs})
        return hashlib.sha256(" ".join(ids).encode()).hexdigest()


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
            with refusing_exit():  # a data set's own class is built for the address
                jobs.append(_plan_job(composition, point, axes))
        except ConfigError as error:
            mistakes.append((str(error), point))
    if mistakes:
        raise ConfigError(_describe_mistakes(mistakes, len(points)))
    return jobs


def _plan_job(composition: Composition, point: Point, axes: Sequence[str]) -> PlannedJob:
    config = fill_open_values(_compose(composition, point.overrides))
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
                labels.append(readable(item.split("=", 1)[1]))
    if point.row is not None:
        # Rows may be multiplied by swept keys, whose values then tell them apart.
        labels.insert(0, point.row)
    address = find_address(config)
    _check_sizes(config, address)
    return PlannedJob(
        overrides=point.overrides,
        row=", ".join(labels) or "all",
        config=config,
        address=address,
    )


def _check_sizes(config: Config, address: RunAddress) -> None:
    """Refuse splits and batches that the data cannot give, where its size is known.

    Raises:
        ConfigError: as the run itself would, before another run of the sweep has been trained.
    """
    source = build_source(config)
    if not source.counts_without_loading:
        return
    dataset = config.dataset
    # Never null in a config whose open values are filled in.
    num_val = dataset.num_val or 0
    try:
        num_images = check_sizes(
            count_train_images(source), num_val=num_val, num_train=dataset.num_train
        )
        check_last_batch(config.trainer.batch_size, num_images)
    except ConfigError:
        # A run that is there has proved that it is possible.
        if find_outcome(address) is None:
            raise


def _compose(composition: Composition, overrides: Sequence[str]) -> Config:
    """Compose a job's config.

    Raises:
        ConfigError: for whatever is wrong with the overrides.
    """
    try:
        return composition.compose(overrides)
    except (ConfigError, HydraException, OmegaConfBaseException, ValueError) as error:
        text = explain_error(error, overrides)
        if text is None:
            raise
        raise ConfigError(text) from error


def _describe_mistakes(mistakes: Sequence[tuple[str, Point]], num_points: int) -> str:
    """Return each mistake once, with the first job that it is in and how many more have it."""
    jobs_by_mistake: defaultdict[str, list[str]] = defaultdict(list)
    for text, point in mistakes:
        own = [item for item in point.overrides if not NOT_IDENTIFYING.match(item)]
        jobs_by_mistake[text].append(" ".join(own))
    if len(jobs_by_mistake) == 1 and len(mistakes) == num_points:
        return mistakes[0][0]  # all jobs have it, so naming one of them would mislead
    paragraphs = []
    for text, jobs in jobs_by_mistake.items():
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        says_its_job = text.startswith(f"{jobs[0]}:")
        paragraphs.append(text if says_its_job else f"{text}\n  in {jobs[0]}{more}")
    return "\n".join(paragraphs)
