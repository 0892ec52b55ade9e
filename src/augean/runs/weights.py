"""Find the weights that a run begins from: torchvision's, a file, or those of another run.

Imports torch only for torchvision's, whose file names it knows.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from augean.config.schema import Config
from augean.datasets.base import Source
from augean.errors import AugeanError, ConfigError, SetupError
from augean.runs.training_command import RETRAIN_FOLDER, retrained_path, run_command
from augean.store.find_run import find_run
from augean.store.summary import read_summary
from augean.store.weights_file import (
    RUN,
    WeightsFile,
    is_published,
    weights_of_file,
    weights_of_path,
    weights_of_run,
)


def find_weights(config: Config, source: Source) -> WeightsFile | None:
    """Return the file that `model.weights` names; None where a run begins from random weights.

    Weights of torchvision are downloaded where they are not there yet.

    Args:
        source: the data set of the config.

    Raises:
        AugeanError: when there is no such file, or it cannot be downloaded.
    """
    name = config.model.weights
    if name is None:
        return None
    if name.startswith(RUN):
        weights = weights_of_run(name, Path(config.runtime.outputs))
    elif is_published(name):
        weights = _published(config, name)
    else:
        weights = weights_of_path(name, Path(name).expanduser())
    return replace(weights, has_new_head=_has_other_names(weights, source))


def _has_other_names(weights: WeightsFile, source: Source) -> bool:
    """Return whether weights are of as many classes as the data has, but of other names."""
    # An address should need no data: of another number of classes no last layer fits anyway.
    if not weights.classes or source.fixed_num_classes not in (None, len(weights.classes)):
        return False
    if weights.data_digest == source.digest():
        return False
    classes = _read_classes(source)
    return len(classes) == len(weights.classes) and classes != weights.classes


# Cached, as all runs of a sweep share the data set.
@lru_cache(maxsize=64)
def _read_classes(source: Source) -> tuple[str, ...]:
    return source.read_classes()


def _published(config: Config, name: str) -> WeightsFile:
    from augean.training.build import model_class

    cls, _ = model_class(config)
    find_published = getattr(cls, "find_published", None)
    if find_published is None:
        raise ConfigError(
            f"model.weights={name}: only networks of model=torchvision have weights by a name;"
            " give a file or run:<id>"
        )
    try:
        published = find_published(name, **config.model.arguments)
    except ValueError as error:
        raise ConfigError(f"model.weights={name}: {error}") from error
    except OSError as error:
        raise AugeanError(f"model.weights={name}: {error}") from error
    weights = weights_of_file(name, published.path, published.classes)
    return replace(weights, remark=_size_remark(cls, config, name))


def _size_remark(cls: Any, config: Config, name: str) -> str:
    """Say that published weights were made for images of another size; "" where they were not."""
    find_transforms = getattr(cls, "find_transforms", None)
    if find_transforms is None:
        return ""
    made_for = find_transforms(name, **config.model.arguments).image_size
    size = config.dataset.image_size
    if size == made_for:
        return ""
    return (
        f"made for {made_for}x{made_for} images, these are {size}x{size}; dataset=photos prepares"
        " images for them"
    )


def check_weights_are_here(weights: WeightsFile, config: Config) -> None:
    """Refuse weights of a run that are not there any more.

    The address of a finished run does not need them, as the digest is in the summary.

    Raises:
        SetupError: says how to get them back.
    """
    if weights.path.is_file():
        return
    key = f"model.weights={weights.name}"
    if not weights.name.startswith(RUN):
        raise SetupError(f"{key}: there is no file {weights.path} any more; bring it back")
    path = find_run(weights.name.removeprefix(RUN), Path(config.runtime.outputs))
    summary = read_summary(path)
    problem = (
        f"{key}: {weights.path} is not here; was it removed by augean clean, or did the run come"
        " without it, as from archives?"
    )
    # A custom loop cannot be started from here.
    if summary is None or summary.loop is not None:
        raise SetupError(f"{problem} Bring the file from where the run was trained")
    command = run_command(path, summary, into=RETRAIN_FOLDER)
    raise SetupError(
        f"{problem} Train the run once more, beside its result, and give"
        f" model.weights={RUN}{retrained_path(path)}:\n  {command}"
    )
