"""The address of a run, and its outcome if it is finished already."""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from augean.config.instantiate import find_class
from augean.config.run_id import directory_name, run_id
from augean.config.schema import MOST_VAL, Config
from augean.datasets.base import Source
from augean.errors import AugeanError, ConfigError
from augean.runs.transforms import with_transforms
from augean.runs.weights import find_weights
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary, read_summary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunAddress:
    """Where a run lives, whoever asks for it."""

    outputs: Path
    id: str
    path: Path


@dataclass(frozen=True)
class RunOutcome:
    address: RunAddress
    summary: RunSummary
    skipped: bool
    """Whether the run was already over when it was asked for."""

    @property
    def objective(self) -> float:
        """Return what a sweeper may see: the selected validation accuracy, never a test score.

        A diverged run, or one without a validation split, has 0.
        """
        if self.summary.status == RunState.DIVERGED:
            return 0.0
        return self.summary.val_accuracy or 0.0


def build_source(config: Config) -> Source:
    """Return the data set of a config, without reading it yet."""
    node, runtime = config.dataset, config.runtime
    cls = find_class("dataset._target_", node._target_, Source)  # type: ignore[type-abstract]
    root = Path(runtime.data)
    cache = Path(runtime.cache) if runtime.cache else root / ".augean"
    try:
        return cls(
            name=node.name, root=root, cache=cache, image_size=node.image_size, **node.arguments
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dataset: {error}") from error


def with_open_values(config: Config) -> Config:
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
def _default_num_val(source: Source) -> int:
    """Return a tenth of the training images, at least 1 and at most `MOST_VAL`."""
    num_images = source.count_train_images()
    num_val = min(MOST_VAL, max(1, num_images // 10))
    if num_val < MOST_VAL:
        logger.info(
            f"dataset.num_val is not given: {num_val:,} of {num_images:,} training images of"
            f" {source.name} are held out for validation"
        )
    return num_val


def find_address(config: Config, loop: str | None = None, weights: str | None = None) -> RunAddress:
    """Return the run's address.

    It needs the digests of the data set and of `model.weights`, for which data and file are read
    where these are not known yet.

    Args:
        loop: as for `augean.config.run_id`.
        weights: likewise, where the digest is known; the file need not be there then.
    """
    config = with_open_values(config)
    if weights is None:
        file = find_weights(config)
        weights = file.digest if file else None
    identity = run_id(config, build_source(config).digest(), loop, weights)
    outputs = Path(config.runtime.outputs)
    return RunAddress(outputs, identity, runs_dir(outputs) / directory_name(config, identity))


def find_outcome(address: RunAddress, *, say: bool = False) -> RunOutcome | None:
    """Return the outcome of a run that is over; None when it still has to be trained.

    Args:
        say: whether to log why a run that was over has to be trained again.
    """
    try:
        summary = read_summary(address.path, address.id)
    except AugeanError as error:
        if say:
            logger.warning(f"{error}; the run is made again")
        return None
    return RunOutcome(address, summary, skipped=True) if summary is not None else None
