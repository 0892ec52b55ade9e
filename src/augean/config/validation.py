"""Check a config: types, ranges, and rules that cross its groups."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass
from functools import cache, lru_cache
from typing import Any, Literal, cast, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from augean.config.paths import PLACE_KEYS
from augean.config.schema import CLASS_NODES, TRUSTED_PACKAGES, Config
from augean.errors import ConfigError

ARGUMENTS_SET_ELSEWHERE = {
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
"""Constructor arguments, by node, that other places of the config set, and these places.

In `arguments` they are refused: one of the two values would be lost."""
DEVICE_NAME = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)
"""What `runtime.device` may be."""
LARGEST_INT = 2**53
"""Up to here a float stands for every whole number exactly."""


def parse_config(raw: DictConfig | Mapping[str, Any]) -> Config:
    """Return a checked `Config` from a composed config or from plain nested dictionaries.

    The types are checked first (`fill_schema`), then ranges and rules between keys
    (`check_config`).

    Raises:
        ConfigError: for unknown keys, wrong types, missing or out-of-range values; all range
            problems at once.
    """
    return check_config(fill_schema(raw))


def fill_schema(raw: DictConfig | Mapping[str, Any]) -> DictConfig:
    """Return the schema filled with a config's values, for `check_config`.

    Keys of the result can be changed but not added.

    Raises:
        ConfigError: for unknown keys and wrong types.
    """
    with _as_config_error():
        # Merge plain containers: where Hydra's `+key` has forced an unknown key into a typed
        # config, a merge of that config would accept the key.
        plain = OmegaConf.to_container(raw) if isinstance(raw, DictConfig) else dict(raw)
        _refuse_long_numbers(cast(dict[Any, Any], plain))
        filled = cast(DictConfig, OmegaConf.merge(_schema(), plain))
    # A sweep applies the overrides of each job to this config: unknown keys must be refused there.
    OmegaConf.set_struct(filled, True)
    return filled


def _refuse_long_numbers(values: Mapping[Any, Any]) -> None:
    """Raise a ConfigError for a whole number that no float can stand for.

    Python's own have no limit, and OmegaConf's error for one that is too large names no key.
    """
    for place, value in _walk_scalars(values, ""):
        if isinstance(value, int) and abs(value) > LARGEST_INT:
            raise ConfigError(f"{place}: {long_number_text(str(value))}")


def _walk_scalars(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key of each value of a nested config, as in `dataset.mean[0]`.

    `arguments` are left out: their values are the business of the class.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key != "arguments":
                yield from _walk_scalars(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk_scalars(item, f"{place}[{index}]")
    else:
        yield place, value


def long_number_text(number: str) -> str:
    """Return what is wrong with a whole number of too many digits, and what to write instead."""
    return f"{number[:8]}... has {len(number.lstrip('-'))} digits; write at most 15, or 1e20"


# Built once: merges copy it.
@lru_cache
def _schema() -> DictConfig:
    return cast(DictConfig, OmegaConf.structured(Config))


def check_config(filled: DictConfig) -> Config:
    """Return a `Config` from what `fill_schema` returned.

    Raises:
        ConfigError: for missing or out-of-range values; all range problems at once.
    """
    with _as_config_error():
        config = cast(Config, OmegaConf.to_object(filled))
    # `~` is the user's home folder, as in a shell.
    for key in PLACE_KEYS:
        folder = getattr(config.runtime, key)
        if folder is not None:
            setattr(config.runtime, key, os.path.expanduser(folder))
    # Lists come first: the other rules calculate with their items.
    problems = list(_list_problems(config))
    if not problems:
        problems = [*_range_problems(config), *_cross_problems(config)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


@contextmanager
def _as_config_error() -> Iterator[None]:
    """Turn OmegaConf's exceptions into a `ConfigError` that begins with the key."""
    try:
        yield
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ConfigError(f"{key}: has no value yet; give it one, {key}=...") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_explain_omegaconf(error)) from error
    except (TypeError, ValueError, RecursionError) as error:  # such as keys where a list belongs
        raise ConfigError(f"the config cannot be read: {error}") from error


def _explain_omegaconf(error: OmegaConfBaseException) -> str:
    """Return the message for an exception of OmegaConf, which begins with the key."""
    # OmegaConf's own message for a wrong choice names the type and not the choices.
    if isinstance(error, ValidationError) and error.full_key:
        choices = choices_of(str(error.full_key))
        if choices:
            return f"{error.full_key}={error.value}: must be one of {', '.join(choices)}"
    place = f"{error.full_key}: " if error.full_key else ""
    first_line = str(error).split("\n")[0]
    return f"{place}{first_line}"


def choices_of(key: str) -> tuple[str, ...]:
    """Return the fixed values of a key, or of the items of its list; empty where any text goes.

    Args:
        key: dotted; the index of an item, as in `runtime.loggers[0]`, does not count.
    """
    item = schema_fields().get(key.partition("[")[0])
    return () if item is None else _literal_values(item.type)


def _literal_values(annotation: Any) -> tuple[str, ...]:
    """Return the values of the `Literal` in an annotation such as `list[Literal["a", "b"]]`."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    # Inside list[...] or ... | None.
    for argument in get_args(annotation):
        if values := _literal_values(argument):
            return values
    return ()


@cache
def schema_fields() -> "dict[str, Field[Any]]":
    """Return every leaf field of the schema by its dotted key, in the order of the schema."""
    return {key: item for key, item, _ in walk_fields(Config(), "")}


def walk_fields(node: Any, prefix: str) -> Iterator[tuple[str, "Field[Any]", Any]]:
    """Yield (dotted key, field, value) of every leaf field below a dataclass node."""
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from walk_fields(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item, value


def _list_problems(config: Config) -> Iterator[str]:
    """Yield the lists with items that are not plain, such as lists, which OmegaConf accepts."""
    for key, _, value in walk_fields(config, ""):
        items = value if isinstance(value, list) else []
        if not all(isinstance(item, str | int | float) for item in items):
            yield f"{key}={value}: must be a list of plain values"


def _range_problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with single values, by the metadata of their fields."""
    for key, item, value in walk_fields(config, ""):
        meta = item.metadata
        if value is None:  # a key that is left open
            continue
        if "pattern" in meta and not re.fullmatch(meta["pattern"], value):
            yield (
                f"{key}={value!r}: letters, digits, '_', '-' and '.' only (at most 64), as it names"
                " a folder"
            )
        if isinstance(value, int) and abs(value) > LARGEST_INT:
            yield f"{key}: {long_number_text(str(value))}"
        # Before the range: NaN passes no comparison, and the message of a range would be wrong.
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{key}={value}: must be a finite number"
        elif "low" in meta and not _is_in_range(value, meta):
            yield f"{key}={value}: must be {_range_text(meta)}"


def _is_in_range(value: float, meta: Mapping[str, float]) -> bool:
    return meta["low"] <= value <= meta["high"] and value > meta["above"]


def _range_text(meta: Mapping[str, float]) -> str:
    """Return a range for a message, such as `above 0 and at most 0.999`."""
    parts = []
    if meta["above"] > -math.inf:
        parts.append(f"above {meta['above']:g}")
    if meta["low"] > -math.inf:
        parts.append(f"at least {meta['low']:g}")
    if meta["high"] < math.inf:
        # 12 digits show 2**31 - 1 in full.
        parts.append(f"at most {meta['high']:.12g}")
    return " and ".join(parts) or "a finite number"


def _cross_problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with several keys together, or with a value that needs its own rule."""
    yield from _colour_problems(config)
    yield from _image_size_problems(config)
    yield from _validation_set_problems(config)
    yield from _probe_problems(config)
    yield from _freeze_problems(config)
    yield from _place_problems(config)
    yield from _target_problems(config)
    yield from _double_argument_problems(config)
    for node in CLASS_NODES:
        yield from _plain_argument_problems(f"{node}.arguments", getattr(config, node).arguments)


def _colour_problems(config: Config) -> Iterator[str]:
    dataset = config.dataset
    for key, values in (("mean", dataset.mean), ("std", dataset.std)):
        if len(values) != 3 or not all(math.isfinite(value) for value in values):
            yield f"dataset.{key}={values}: must be three finite numbers, one per colour channel"
    if any(value <= 0 for value in dataset.std):
        yield f"dataset.std={dataset.std}: must be above 0"


def _image_size_problems(config: Config) -> Iterator[str]:
    size = config.dataset.image_size
    padding = config.augmentation.crop_padding
    if padding >= size:
        yield f"augmentation.crop_padding={padding}: must be below dataset.image_size={size}"
    if padding and config.augmentation.crop_area < 1:
        yield (
            f"augmentation.crop_area={config.augmentation.crop_area}: not together with"
            f" augmentation.crop_padding={padding}; set one of them to 1 or 0"
        )
    cutout = config.regularization.cutout
    if cutout > size:
        yield f"regularization.cutout={cutout}: must be at most dataset.image_size={size}"


def _validation_set_problems(config: Config) -> Iterator[str]:
    # Without held-out images there is no validation loss that could reach a plateau.
    if config.dataset.num_val == 0 and config.schedule.name == "plateau":
        yield (
            "schedule=plateau needs a validation loss and dataset.num_val=0 leaves none: use"
            " schedule=cosine, onecycle or constant, or hold out images with dataset.num_val=<how"
            " many>"
        )


def _probe_problems(config: Config) -> Iterator[str]:
    limits = config.record.probe_range
    if len(limits) != 2 or not 0 < limits[0] < limits[1] < math.inf:
        yield f"record.probe_range={limits}: must be two numbers, 0 < smallest < largest"


def _freeze_problems(config: Config) -> Iterator[str]:
    freeze = config.trainer.freeze
    # Not a `Literal` of the schema: any module may follow.
    if not re.fullmatch(r"none|backbone|until [\w.]+", freeze):
        yield (
            f"trainer.freeze={freeze}: must be none, backbone or 'until <module>', a module of the"
            " network such as layer3"
        )


def _place_problems(config: Config) -> Iterator[str]:
    runtime = config.runtime
    for key, folder in (("outputs", runtime.outputs), ("data", runtime.data)):
        if not folder:
            yield f"runtime.{key}={folder}: must name a folder; '.' is the one you are in"
    # Not a `Literal` of the schema: `cuda:<n>` takes any number.
    if not DEVICE_NAME.fullmatch(runtime.device):
        yield f"runtime.device={runtime.device}: must be auto, cpu, cuda, cuda:<n> or mps"


def _target_problems(config: Config) -> Iterator[str]:
    """Refuse classes of packages that the user does not trust: importing one runs its code."""
    own_packages = config.runtime.allowed_packages
    allowed = (*TRUSTED_PACKAGES, *own_packages)
    for key, target in class_targets(config).items():
        # Letters, digits, underscores, and at least one dot: <package>.<class>.
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
            yield f"{key}={target}: must be a dotted class name such as torch.optim.SGD"
            continue  # it has no package to judge
        package = target.split(".")[0]
        if package not in allowed:
            setting = f"runtime.allowed_packages=[{','.join([*own_packages, package])}]"
            yield (
                f"{key}={target}: only classes of {', '.join(allowed)} are allowed; to trust"
                f" another package set {setting}"
            )


def _double_argument_problems(config: Config) -> Iterator[str]:
    for node, sources in ARGUMENTS_SET_ELSEWHERE.items():
        arguments = getattr(config, node).arguments
        for name, source in sources.items():
            if name in arguments:
                yield f"{node}.arguments.{name}: use {source}, its only source"
    if config.model.stem is not None and "stem" in config.model.arguments:
        yield "model.arguments.stem: use model.stem, which is given too"


def _plain_argument_problems(key: str, value: Any) -> Iterator[str]:
    """Yield arguments that are not plain values: a nested `_target_` could name any code.

    Args:
        key: dotted key of the value, for messages.
        value: an argument, or a list or dictionary of them, to any depth.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            if str(name).startswith("_"):
                yield f"{key}.{name}: keys that start with '_' are not passed on; remove it"
            else:
                yield from _plain_argument_problems(f"{key}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _plain_argument_problems(f"{key}[{index}]", item)
    # NaN has no JSON form, so a run with it would have no id.
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}={value}: must be a finite number"
    elif not isinstance(value, str | int | float | None):
        yield (
            f"{key}={value}: must be text, a number, true, false or null, or a list or keys with"
            " those"
        )


def class_targets(config: Config) -> dict[str, str]:
    """Return the class names in a config by their keys, such as `model._target_`."""
    return {f"{node}._target_": getattr(config, node)._target_ for node in CLASS_NODES}


def own_packages(config: Mapping[str, Any]) -> list[str]:
    """Return the packages of a flat config's classes that are neither Augean's nor a library's."""
    targets = [str(config.get(f"{node}._target_", "")) for node in CLASS_NODES]
    packages = {target.split(".")[0] for target in targets}
    return sorted(packages - {"", *TRUSTED_PACKAGES})


def flatten_config(config: Config) -> dict[str, Any]:
    """Return the config without `runtime` as `{dotted key: value}`, one entry per argument."""
    flat: dict[str, Any] = {}
    for key, _, value in walk_fields(config, ""):
        if key.startswith("runtime."):
            continue
        if isinstance(value, dict):
            for name, item in value.items():
                flat[f"{key}.{name}"] = item
        else:
            flat[key] = value
    return flat
