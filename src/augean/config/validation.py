"""Check a config: types, ranges, and rules that cross its groups."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass
from functools import lru_cache
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from augean.config.schema import TRUSTED_PACKAGES, Config
from augean.errors import ConfigError


@lru_cache
def _schema() -> DictConfig:
    """`Config` as merges begin with it; they copy it."""
    return cast(DictConfig, OmegaConf.structured(Config))


def parse_config(raw: DictConfig | Mapping[str, Any]) -> Config:
    """A checked `Config` from a composed config or from plain nested dictionaries.

    Raises:
        ConfigError: for unknown keys, wrong types, missing or out-of-range values; all range
            problems at once.
    """
    return check_config(fill_schema(raw))


def fill_schema(raw: DictConfig | Mapping[str, Any]) -> DictConfig:
    """The schema filled with a config's values, which `check` takes. Keys can be changed in it and
    not added.

    Raises:
        ConfigError: for unknown keys and wrong types.
    """
    with _as_config_error():
        # Through plain containers: a typed config to which Hydra's `+key` forced an unknown key
        # would pass a merge.
        plain = OmegaConf.to_container(raw) if isinstance(raw, DictConfig) else dict(raw)
        filled = cast(DictConfig, OmegaConf.merge(_schema(), plain))
    OmegaConf.set_struct(filled, True)
    return filled


def check_config(filled: DictConfig) -> Config:
    """A `Config` from what `typed` made.

    Raises:
        ConfigError: for missing or out-of-range values; all range problems at once.
    """
    with _as_config_error():
        config = cast(Config, OmegaConf.to_object(filled))
    for key, _, value in walk_fields(config, ""):
        if isinstance(value, list) and not all(
            isinstance(item, str | int | float) for item in value
        ):
            raise ConfigError(f"{key}={value}: must be a list of plain values")
    problems = [*_range_problems(config), *_cross_problems(config)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        if isinstance(error, MissingMandatoryValue):
            raise ConfigError(
                f"{error.full_key}: has no value yet; give it one, {error.full_key}=..."
            ) from error
        raise ConfigError(where + str(error).split("\n")[0]) from error
    except (TypeError, ValueError, RecursionError) as error:  # such as keys where a list belongs
        raise ConfigError(f"the config cannot be read: {error}") from error


def walk_fields(node: Any, prefix: str) -> Iterator[tuple[str, "Field[Any]", Any]]:
    """Yield (dotted key, field, value) of every leaf field below a dataclass node."""
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from walk_fields(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item, value


def _range_problems(config: Config) -> Iterator[str]:
    for key, item, value in walk_fields(config, ""):
        meta = item.metadata
        if value is None:
            continue
        if "choices" in meta and not {*(value if isinstance(value, list) else [value])} <= {
            *meta["choices"]
        }:
            yield f"{key}={value}: must be one of {', '.join(meta['choices'])}"
        if "pattern" in meta and not re.fullmatch(meta["pattern"], value):
            yield (
                f"{key}={value!r}: letters, digits, '_', '-' and '.' only (at most 64), as it names"
                " a folder"
            )
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key}={value}: must be a finite number"
        elif "low" in meta and not (meta["low"] <= value <= meta["high"] and value > meta["above"]):
            yield f"{key}={value}: must be {_range_text(meta)}"


def _range_text(meta: Mapping[str, float]) -> str:
    parts = []
    if meta["above"] > -math.inf:
        parts.append(f"above {meta['above']:g}")
    if meta["low"] > -math.inf:
        parts.append(f"at least {meta['low']:g}")
    if meta["high"] < math.inf:
        parts.append(f"at most {meta['high']:.12g}")
    return " and ".join(parts) or "a finite number"


def _cross_problems(config: Config) -> Iterator[str]:
    dataset, size = config.dataset, config.dataset.image_size
    for key, values in (("mean", dataset.mean), ("std", dataset.std)):
        if len(values) != 3 or not all(math.isfinite(value) for value in values):
            yield f"dataset.{key}={values}: must be three finite numbers, one per colour channel"
    if any(value <= 0 for value in dataset.std):
        yield f"dataset.std={dataset.std}: must be above 0"
    if config.augmentation.crop_padding >= size:
        yield (
            f"augmentation.crop_padding={config.augmentation.crop_padding}: must be below"
            f" dataset.image_size={size}"
        )
    if config.regularization.cutout > size:
        yield (
            f"regularization.cutout={config.regularization.cutout}: must be at most"
            f" dataset.image_size={size}"
        )
    if dataset.num_val == 0 and config.schedule.name == "plateau":
        yield (
            "schedule=plateau needs a validation loss and dataset.num_val=0 leaves none: use"
            " schedule=cosine, onecycle or constant, or hold out images with dataset.num_val=<how"
            " many>"
        )
    for group, names in OWN_KEYS.items():
        for name in filter(getattr(config, group).arguments.__contains__, names):
            yield f"{group}.arguments.{name}: use {names[name]}, its only source"
    if config.model.stem is not None and "stem" in config.model.arguments:
        yield "model.arguments.stem: use model.stem, which is given too"
    probed = config.record.probe_range
    if len(probed) != 2 or not 0 < probed[0] < probed[1] < math.inf:
        yield f"record.probe_range={probed}: must be two numbers, 0 < smallest < largest"
    if not config.runtime.outputs or not config.runtime.data:
        yield "runtime.outputs and runtime.data: must name a folder; '.' is the one you are in"
    device = config.runtime.device
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        yield f"runtime.device={device}: must be auto, cpu, cuda, cuda:<n> or mps"
    for key, target in class_targets(config).items():
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
            yield f"{key}={target}: must be a dotted class name such as torch.optim.SGD"
            continue
        package = target.split(".")[0]
        own_packages = config.runtime.allowed_packages
        allowed = (*TRUSTED_PACKAGES, *own_packages)
        if package not in allowed:
            wider = ",".join([*own_packages, package])
            yield (
                f"{key}={target}: only classes of {', '.join(allowed)} are allowed; to trust "
                f"another package set runtime.allowed_packages=[{wider}]"
            )
    for node in ("model", "activation", "optimizer", "dataset"):
        yield from _argument_problems(f"{node}.arguments", getattr(config, node).arguments)


def _argument_problems(key: str, value: Any) -> Iterator[str]:
    """Class arguments are plain values: a nested `_target_` would be one more way to name code."""
    if isinstance(value, dict):
        for name, item in value.items():
            if str(name).startswith("_"):
                yield f"{key}.{name}: keys that start with '_' are not passed on"
            else:
                yield from _argument_problems(f"{key}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _argument_problems(f"{key}[{index}]", item)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}={value}: must be a finite number"
    elif not isinstance(value, str | int | float | None):
        yield (
            f"{key}={value}: must be text, a number, true, false or null, or a list or keys with"
            " those"
        )


def class_targets(config: Config) -> dict[str, str]:
    """The class names in a config by their keys."""
    return {
        f"{node}._target_": getattr(config, node)._target_
        for node in ("model", "activation", "optimizer", "dataset")
    }


OWN_KEYS = {
    "dataset": {
        "name": "dataset.name",
        "root": "runtime.data",
        "cache": "runtime.cache",
        "image_size": "dataset",
    },
    "model": {
        "num_classes": "dataset",
        "activation": "activation",
        "channels": "width",
        "dropout": "regularization",
    },
    "optimizer": {
        "lr": "optimizer.lr",
        "momentum": "optimizer.momentum",
        "weight_decay": "regularization.weight_decay",
    },
}
"""Arguments of constructors that come from elsewhere in the config: given twice, one of them would
be lost."""


def flatten_config(config: Config) -> dict[str, Any]:
    """Every key of the run's address as `{dotted key: value}`; `arguments` are spread too."""
    flat: dict[str, Any] = {}
    for key, _, value in walk_fields(config, ""):
        if key.startswith("runtime."):
            continue
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            flat[key] = value
    return flat
