"""Find the weights that a run begins from: torchvision's, a file, or those of another run.

Imports torch only for torchvision's, whose file names it knows.
"""

import re
from pathlib import Path

from augean.config.instantiate import find_class
from augean.config.schema import Config
from augean.errors import AugeanError, ConfigError
from augean.store.weights_file import (
    RUN,
    WeightsFile,
    weights_of_file,
    weights_of_path,
    weights_of_run,
)


def find_weights(config: Config) -> WeightsFile | None:
    """Return the file that `model.weights` names; None where a run begins from random weights.

    Weights of torchvision are downloaded where they are not there yet.

    Raises:
        AugeanError: when there is no such file, or it cannot be downloaded.
    """
    name = config.model.weights
    if name is None:
        return None
    if name.startswith(RUN):
        return weights_of_run(name, Path(config.runtime.outputs))
    if is_published(name):
        return _published(config, name)
    return weights_of_path(name, Path(name).expanduser())


def is_published(name: str) -> bool:
    """Return whether `model.weights` is a name such as DEFAULT or IMAGENET1K_V1."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*", name) is not None


def _published(config: Config, name: str) -> WeightsFile:
    from torch import nn

    node = config.model
    cls = find_class("model._target_", node._target_, nn.Module)
    find_published = getattr(cls, "find_published", None)
    if find_published is None:
        raise ConfigError(
            f"model.weights={name}: only networks of model=torchvision have weights by a name;"
            " give a file or run:<id>"
        )
    try:
        published = find_published(name, **node.arguments)
    except ValueError as error:
        raise ConfigError(f"model.weights={name}: {error}") from error
    except OSError as error:
        raise AugeanError(f"model.weights={name}: {error}") from error
    return weights_of_file(name, published.path, published.classes)
