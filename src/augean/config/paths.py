"""Find the config groups and the sweep files, and fix the folders that a config names."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict, read_write

from augean.config.schema import Config, RuntimeConfig

PLACE_KEYS = ("outputs", "data", "cache")
"""Keys of `runtime` that name folders."""


def config_dir() -> Path:
    """Return the folder `conf`."""
    package = Path(__file__).parents[1]
    # A wheel brings the folder inside the package; in a checkout it lies beside src.
    packaged_conf = package / "conf"
    if packaged_conf.is_dir():
        return packaged_conf
    return package.parents[1] / "conf"


def sweeps_dir() -> Path:
    """Return the folder `sweeps`, beside `conf`."""
    return config_dir().with_name("sweeps")


def yaml_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder: options of a group, or sweeps."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def places(runtime: RuntimeConfig) -> dict[str, str | None]:
    """Return the folders of a config, by their keys."""
    return {key: getattr(runtime, key) for key in PLACE_KEYS}


def fix_places(config: DictConfig, values: Mapping[str, str | None]) -> None:
    """Set the folders in a composed config; without a value the interpolation is resolved, once.

    One sweep has one output folder: `${now:%H-%M}` would give each of its jobs another.
    """
    with read_write(config), open_dict(config):
        for key in PLACE_KEYS:
            config.runtime[key] = values.get(key, config.runtime[key])


def place_overrides(runtime: RuntimeConfig) -> list[str]:
    """Return the folders as absolute paths, as overrides for a job that runs in another folder."""
    overrides = []
    for key, folder in places(runtime).items():
        if folder is not None:
            text = _quoted(str(Path(folder).absolute()))
            overrides.append(f"runtime.{key}={text}")
    return overrides


def quoted_folder(folder: str) -> str:
    """Return a folder as the value of an override, in quotes where Hydra needs them."""
    return folder if re.fullmatch(r"[\w./-]+", folder) else _quoted(folder)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def from_folder(config: Config, folder: str) -> Config:
    """Return the config with its folders as seen from the folder in which a command was started."""
    if Path(folder) == Path.cwd():
        return config
    absolute: dict[str, Any] = {
        key: str(Path(folder) / place)
        for key, place in places(config.runtime).items()
        if place is not None
    }
    return replace(config, runtime=replace(config.runtime, **absolute))
