"""Compose a config with Hydra, on a command line or outside one."""

import os
from collections.abc import Sequence
from pathlib import Path

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from augean.config.override_errors import explain_error
from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.config.schema import Config
from augean.config.sweeper_schema import PRUNERS, SAMPLER_DEFAULTS, SWEEPERS
from augean.config.validation import parse_config
from augean.errors import ConfigError

HYDRA_DIR = "${expanduser:${runtime.outputs}}/.hydra"
"""The folder that Hydra needs, and makes before Augean sees the config."""


def register(sweep: str | None = None) -> None:
    """Register Augean's schema, its Hydra settings and the options of its sweepers with Hydra.

    The config `augean` has the schema and the settings; conf/config.yaml and the config of every
    run directory begin with it.

    Args:
        sweep: name of one of Augean's own sweep files, which then needs no `-cd`. A file of the
            same name in the folder of `-cd` takes precedence.
    """
    OmegaConf.register_resolver("expanduser", os.path.expanduser, replace=True)
    # Load Hydra's plugins first: they store their own options, which Augean's options of the same
    # names, such as `hydra/sweeper: optuna`, must replace.
    Plugins.instance()
    store = ConfigStore.instance()
    for option, schema in SWEEPERS.items():
        store.store(group="hydra/sweeper", name=option, node=schema, replace=True)
    for option, values in SAMPLER_DEFAULTS.items():
        group = "hydra/sweeper/sampler"
        sampler = OmegaConf.merge(store.load(f"{group}/{option}.yaml").node, values)
        store.store(group=group, name=option, node=sampler, replace=True)
    for option, node in PRUNERS.items():
        store.store(group="hydra/sweeper/pruner", name=option, node=node, replace=True)
    # Hydra searches conf and the folder of -cd, but not Augean's folder of sweeps.
    if sweep in yaml_names(sweeps_dir()):
        store.store(name=sweep, node=OmegaConf.load(sweeps_dir() / f"{sweep}.yaml"), replace=True)
    store.store(name="augean_schema", node=Config, replace=True)
    store.store(
        name="augean",
        replace=True,
        node={
            "defaults": [
                "augean_schema",
                # Hydra's own log files would lie beside the runs; a run has its train.log.
                {"override hydra/job_logging": "none"},
                {"override hydra/hydra_logging": "none"},
                {"override hydra/sweeper": "augean"},
                "_self_",
            ],
            "hydra": {
                # Hydra writes nothing of its own into a run's directory.
                "output_subdir": None,
                "run": {"dir": HYDRA_DIR},
                "sweep": {"dir": HYDRA_DIR, "subdir": "."},
            },
        },
    )


def compose(
    overrides: Sequence[str] = (), name: str = "config", folder: Path | None = None
) -> Config:
    """Compose a checked config outside a command line.

    Args:
        overrides: as on the command line, such as `["dataset=digits", "trainer.epochs=2"]`.
        name: of the primary config.
        folder: absolute path of the folder that holds it; by default `conf`.

    Raises:
        AugeanError: for whatever is wrong with the overrides.
    """
    register()
    try:
        with hydra.initialize_config_dir(str(folder or config_dir())):
            return parse_config(hydra.compose(name, list(overrides)))
    # All that Hydra raises for overrides that it cannot read or apply.
    except (
        HydraException,
        OmegaConfBaseException,
        ValueError,
        TypeError,
        AssertionError,
        OverflowError,
        yaml.YAMLError,
    ) as error:
        message = explain_error(error, overrides, takes_sweep=False)
        raise ConfigError(message or f"{list(overrides)}: cannot be composed") from error
