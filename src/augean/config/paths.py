"""Find the config groups and the sweep files, and fix the folders that a config names."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from augean.config.schema import RuntimeConfig
from augean.config.yaml_files import parse_yaml
from augean.regular_files import CONFIG_BYTES, read_regular

PLACE_KEYS = ("outputs", "data", "cache")
"""Keys of `runtime` that name folders."""


PACKAGED_CONF = Path(__file__).parents[1] / "conf"
"""Where a wheel brings the folder `conf`; in a checkout it lies beside src."""


def config_dir() -> Path:
    """Return the folder `conf`, which holds a folder of options for each config group."""
    if PACKAGED_CONF.is_dir():
        return PACKAGED_CONF
    return PACKAGED_CONF.parents[2] / "conf"


def own_config_dir() -> Path:
    """Return the folder that takes a user's new options: the checkout's `conf`, or with an
    installed package, whose next version would replace them, one where the command was started.
    """
    return Path("conf") if PACKAGED_CONF.is_dir() else config_dir()


def sweeps_dir() -> Path:
    """Return the folder `sweeps`, beside `conf`."""
    return config_dir().with_name("sweeps")


def yaml_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder: options of a group, or sweeps."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def sweep_folders(folder: Path | None) -> list[Path]:
    """Return the folders in which a sweep file may lie, in the order in which they are searched.

    Args:
        folder: of the user's own sweep files; None without one.
    """
    return [sweeps_dir()] if folder is None else [folder, sweeps_dir()]


def sweep_file(name: str, folder: Path | None) -> Path | None:
    """Return the sweep file of a name, the user's own before Augean's; None where there is none.

    Args:
        folder: as for `sweep_folders`.
    """
    files = [place / f"{name}.yaml" for place in sweep_folders(folder)]
    return next((file for file in files if file.is_file()), None)


def outputs_of_file(sweep: str, folder: Path | None) -> str | None:
    """Return the `runtime.outputs` that a sweep file sets; None where it sets none.

    Args:
        sweep: name of the file; there may be none of that name.
        folder: as for `sweep_folders`.
    """
    file = sweep_file(sweep, folder)
    if file is None:
        return None
    try:
        body = parse_yaml(read_regular(file, CONFIG_BYTES))
        outputs = OmegaConf.select(OmegaConf.create({"body": body}), "body.runtime.outputs")
    except (OSError, ValueError, OmegaConfBaseException):
        return None  # composing the file says what is wrong with it
    return outputs if isinstance(outputs, str) else None


def cache_dir(runtime: RuntimeConfig) -> Path:
    """Return the folder for decoded images."""
    return Path(runtime.cache) if runtime.cache else Path(runtime.data) / ".augean"


def places(runtime: RuntimeConfig) -> dict[str, str | None]:
    """Return the folders of a config, by their keys."""
    return {key: getattr(runtime, key) for key in PLACE_KEYS}


def fix_places(config: DictConfig, values: Mapping[str, str | None]) -> None:
    """Set the folders in a composed config to fixed texts.

    One sweep has one output folder: `${now:%H-%M}` would give each of its jobs another.

    Args:
        values: folders by key. A key that is not in it keeps its own value, resolved once.
    """
    with read_write(config), open_dict(config):
        for key in PLACE_KEYS:
            # Reading the key of an OmegaConf node resolves an interpolation in it.
            config.runtime[key] = values.get(key, config.runtime[key])
