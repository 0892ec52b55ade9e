"""Fill in how images are prepared, where a config leaves that to the weights."""

import inspect
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from augean.config.instantiate import find_class
from augean.config.schema import Config, DatasetConfig
from augean.config.validation import parse_config
from augean.errors import AugeanError, ConfigError
from augean.store.find_run import find_run
from augean.store.summary import read_summary
from augean.store.weights_file import RUN, is_published

logger = logging.getLogger(__name__)

IMAGE_KEYS = ("image_size", "mean", "std", "resize", "interpolation")
"""What weights may say of their images. The last two are arguments of `ImageFolder`."""


def with_transforms(config: Config) -> Config:
    """Return the config with the values that `dataset.transforms=weights` stands for.

    For a data set that does not resize its images only mean and std are set.

    Raises:
        AugeanError: when nothing says how images are prepared for the network, and for values that
            the weights would replace.
    """
    node = config.dataset
    if node.transforms == "own":
        return config
    values = _image_settings(config)
    if _resizes(node._target_):
        _refuse_given_values(node, values)
    dataset = replace(node, transforms="own", mean=values["mean"], std=values["std"])
    if _resizes(node._target_):
        _say_size(values["image_size"], values.get("resize"))
        arguments = dict(node.arguments)
        for key in ("resize", "interpolation"):
            arguments.pop(key, None)
            if values.get(key) is not None:
                arguments[key] = values[key]
        dataset = replace(dataset, image_size=values["image_size"], arguments=arguments)
    # Checked again, as the rules between keys apply to these values too.
    return parse_config(asdict(replace(config, dataset=dataset)))


def _refuse_given_values(node: DatasetConfig, values: Mapping[str, Any]) -> None:
    """Refuse values of photographs that differ from the default and from those of the weights.

    Raises:
        ConfigError: names the first of them.
    """
    defaults = asdict(DatasetConfig())
    given = {key: getattr(node, key) for key in ("image_size", "mean", "std")}
    given = {key: value for key, value in given.items() if value != defaults[key]}
    for key in ("resize", "interpolation"):
        if key in node.arguments:
            given[f"arguments.{key}"] = node.arguments[key]
    for key, value in given.items():
        ours = values.get(key.removeprefix("arguments."))
        if value != ours:
            raise ConfigError(
                f"dataset.{key}={value}: dataset.transforms=weights takes {ours}, which belongs to"
                " the weights; add dataset.transforms=own to prepare the images otherwise"
            )


# Cached, so that a sweep of many runs says it once.
@lru_cache(maxsize=64)
def _say_size(image_size: int, resize: int | None) -> None:
    cut = "" if resize is None else f", cut from the middle of {resize}"
    logger.info(
        f"dataset.transforms=weights: images are {image_size}x{image_size}{cut}, as belongs to the"
        " weights"
    )


def _resizes(target: str) -> bool:
    """Return whether a class of data sets takes the argument `resize`."""
    cls = find_class("dataset._target_", target, object)
    return "resize" in inspect.signature(cls).parameters


def _image_settings(config: Config) -> Mapping[str, Any]:
    """Return what the weights of a config say of their images, by `IMAGE_KEYS`."""
    weights = config.model.weights
    if weights is not None and weights.startswith(RUN):
        return _run_image_settings(weights, Path(config.runtime.outputs))
    from augean.training.build import model_class

    cls, _ = model_class(config)
    find_transforms = getattr(cls, "find_transforms", None)
    if find_transforms is None:
        raise ConfigError(
            "dataset.transforms=weights: only model.weights=run:<id> and networks of"
            " model=torchvision say how images are prepared; set dataset.transforms=own,"
            " dataset.image_size, mean and std"
        )
    # A file does not say it, and random weights do not either: those of torchvision do.
    name = weights if weights is not None and is_published(weights) else "DEFAULT"
    try:
        return asdict(find_transforms(name, **config.model.arguments))
    except ValueError as error:
        raise ConfigError(f"model.weights={name}: {error}") from error


def _run_image_settings(weights: str, outputs: Path) -> Mapping[str, Any]:
    """Return what a run's config says by `IMAGE_KEYS`; None where the run has the default.

    Raises:
        ConfigError: when there is no such run, or its config has no data set of Augean.
    """
    try:
        summary = read_summary(find_run(weights.removeprefix(RUN), outputs))
    except AugeanError as error:
        raise ConfigError(f"model.weights={weights}: {error}") from error
    values: dict[str, Any] = {}
    if summary is not None:
        for key in IMAGE_KEYS:
            is_argument = key in ("resize", "interpolation")
            node = "dataset.arguments" if is_argument else "dataset"
            values[key] = summary.config.get(f"{node}.{key}")
    if not values.get("mean"):
        raise ConfigError(
            f"dataset.transforms=weights: {weights} does not say how its images were prepared"
        )
    return values
