"""Find the classes that a config names."""

import importlib.util
from typing import TypeVar

from augean.errors import ConfigError

T = TypeVar("T")


def find_class(key: str, target: str, base: type[T]) -> type[T]:
    """The class that `target` names.

    Raises:
        ConfigError: when it cannot be imported, is no class, or does not derive from `base`.
    """
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs code, which may raise whatever it likes
        raise ConfigError(f"{key}={target}: cannot import {module_name}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise ConfigError(f"{key}={target}: {module_name} has no {class_name}")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(
            f"{key}={target}: must be a class derived from {base.__module__}.{base.__qualname__}"
        )
    return found
