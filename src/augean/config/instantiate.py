"""Find the classes that a config names, and check the arguments that it gives them."""

import importlib
import inspect
from collections.abc import Iterable
from typing import TypeVar

from augean.errors import ConfigError

T = TypeVar("T")


def find_class(key: str, target: str, base: type[T]) -> type[T]:
    """Import the class that `target` names.

    Args:
        key: the config key that names the class, for messages; such as `model._target_`.
        target: dotted name of the class.
        base: class that it must derive from.

    Raises:
        ConfigError: when it cannot be imported, is not a class, or does not derive from `base`.
    """
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs code, which may raise whatever it likes
        raise ConfigError(f"{key}={target}: cannot import {module_name}: {error}") from error
    value = getattr(module, class_name, None)
    if value is None:
        raise ConfigError(f"{key}={target}: {module_name} has no {class_name}")
    # The base itself has nothing that could be trained or loaded.
    if not (isinstance(value, type) and issubclass(value, base)) or value is base:
        raise ConfigError(
            f"{key}={target}: must be a class derived from {base.__module__}.{base.__qualname__}"
        )
    return value


def check_arguments(key: str, cls: type, names: Iterable[str], fix: str | None = None) -> None:
    """Make sure that a class takes keyword arguments of these names.

    Args:
        key: of the config node that gives them, for messages, such as `model.arguments`.
        fix: what to do in place of deleting the key with `~`.

    Raises:
        ConfigError: with the arguments that the class takes.
    """
    parameters = inspect.signature(cls).parameters
    # A class with **kwargs takes any name, and complains itself where it must.
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            # The argument may come from a file, where the user has not seen it.
            raise ConfigError(
                f"{key}.{name}: {cls.__qualname__} takes no such argument; it takes"
                f" {', '.join(parameters)}; {fix or f'leave it out with ~{key}.{name}'}"
            )
