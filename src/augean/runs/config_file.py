"""Write a run's config.yaml, from which the same run can be started again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf

from augean.config.schema import Config


def config_values(config: Config) -> dict[str, Any]:
    """Return the config as nested plain values.

    `runtime` is left out: it says where a run is executed and is not part of the run.
    """
    values = asdict(config)
    del values["runtime"]
    return values


def config_yaml(config: Config) -> str:
    """Return the text of config.yaml.

    `python train.py -cp <absolute run directory> -cn config` is the same run.
    """
    # `augean` brings the schema and the Hydra settings, `_self_` the values below.
    return to_yaml({"defaults": ["augean", "_self_"], **config_values(config)})


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return plain values as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))
