"""Find the address of a run, and its outcome if it is completed already."""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from augean.config.instantiate import find_class
from augean.config.paths import cache_dir
from augean.config.run_id import directory_name, run_id
from augean.config.schema import MAX_DEFAULT_VAL, Config
from augean.datasets.base import Source
from augean.errors import AugeanError, ConfigError
from augean.runs.transforms import with_transforms
from augean.runs.weights import find_weights
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary, read_summary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunAddress:
    """The place of a run: whoever asks for the same run gets the same address."""

    outputs: Path
    """Folder of runs, sweep records and locks."""
    id: str
    """Ten hex digits, see `augean.config.run_id`."""
    path: Path
    """The run's directory, which need not exist yet."""


WORST_SCORE = 0.0
"""Validation accuracy of a run that diverged: no other is worse."""


@dataclass(frozen=True)
class RunOutcome:
    """A completed run: its result, and whether it had to be trained for it."""

    address: RunAddress
    summary: RunSummary
    skipped: bool
    """Whether the run was completed before, so that nothing was trained."""

    @property
    def objective(self) -> float:
        """The score for a sweeper: the selected validation accuracy, never a test score.

        A diverged run, or one without a validation split, has the worst one.
        """
        val_accuracy = self.summary.val_accuracy
        if self.summary.status == RunState.DIVERGED or val_accuracy is None:
            return WORST_SCORE
        return val_accuracy


def build_source(config: Config) -> Source:
    """Return the data set of a config, without reading it yet."""
    node = config.dataset
    runtime = config.runtime
    # mypy refuses abstract classes here; `find_class` returns a class derived from Source.
    cls = find_class("dataset._target_", node._target_, Source)  # type: ignore[type-abstract]
    try:
        return cls(
            name=node.name,
            root=Path(runtime.data),
            cache=cache_dir(runtime),
            image_size=node.image_size,
            **node.arguments,
        )
    # From the class's own checks of `dataset.arguments`, or from Python for an unknown one.
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dataset: {error}") from error


def fill_open_values(config: Config) -> Config:
    """Return the config with the values filled in that it leaves to the data and to the weights.

    Raises:
        AugeanError: when a value is open and the data cannot be read, or the weights do not say it.
    """
    config = with_transforms(config)
    if config.dataset.num_val is not None:
        return config
    num_val = _default_num_val(build_source(config))
    return replace(config, dataset=replace(config.dataset, num_val=num_val))


@lru_cache(maxsize=64)
def count_train_images(source: Source) -> int:
    """Return the number of training images, which all runs of a sweep share.

    Raises:
        DataError: as `Source.load`.
    """
    return source.count_train_images()


# Cached, so that a sweep of many runs logs the number only once.
@lru_cache(maxsize=64)
def _default_num_val(source: Source) -> int:
    """Return a tenth of the training images, at least 1 and at most `MAX_DEFAULT_VAL`."""
    num_images = count_train_images(source)
    num_val = min(MAX_DEFAULT_VAL, max(1, num_images // 10))
    if num_val < MAX_DEFAULT_VAL:
        logger.info(
            f"dataset.num_val is not given: {num_val:,} of {num_images:,} training images of"
            f" {source.name} are held out for validation"
        )
    return num_val


def find_address(
    config: Config, loop_digest: str | None = None, weights_digest: str | None = None
) -> RunAddress:
    """Return the run's address.

    It needs the digests of the data set and of `model.weights`, for which data and file are read
    where these are not known yet.

    Args:
        loop_digest: of a custom loop's code; None for Augean's own loop.
        weights_digest: of `model.weights`, see `WeightsFile.digest`, where it is known: then the
            file need not exist.
    """
    # The id holds the values themselves, so that null and what it stands for are one run.
    config = fill_open_values(config)
    source = build_source(config)
    if weights_digest is None:
        file = find_weights(config, source)
        weights_digest = file.digest if file else None
    id_ = run_id(config, source.digest(), loop_digest, weights_digest)
    outputs = Path(config.runtime.outputs)
    path = runs_dir(outputs) / directory_name(config, id_)
    return RunAddress(outputs=outputs, id=id_, path=path)


def find_outcome(address: RunAddress, *, warn: bool = False) -> RunOutcome | None:
    """Return the outcome of a completed run; None when the run still has to be trained.

    Args:
        warn: whether to log why a run with a damaged summary is trained again.
    """
    try:
        summary = read_summary(address.path, address.id)
    except AugeanError as error:
        if warn:
            logger.warning(f"{error}; the run is made again")
        return None
    if summary is None:
        return None
    return RunOutcome(address=address, summary=summary, skipped=True)
