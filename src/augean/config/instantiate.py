"""Find the classes that a config names, and check the arguments that it gives them."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import TypeVar

from augean.errors import AugeanError, ConfigError
from augean.signals import Stopped

T = TypeVar("T")


@contextmanager
def running_own_code(place: str) -> Iterator[None]:
    """Run a user's own code, whose mistakes are the user's, and whose output goes to stderr: the
    stdout of a command may be a document.

    Args:
        place: beginning of the message about a mistake.

    Raises:
        ConfigError: for whatever the code raises; `sys.exit` would end the process in silence.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{place}: {type(error).__name__}: {error}") from error


@contextmanager
def refusing_exit() -> Iterator[None]:
    """Turn a `sys.exit` of the user's own code into an error, as it would end a whole sweep.

    Raises:
        AugeanError: with the place of the call.
    """
    try:
        yield
    except Stopped:
        raise
    except SystemExit as stop:
        # `sys.exit` has no frame of its own.
        caller = traceback.extract_tb(stop.__traceback__)[-1]
        raise AugeanError(
            f"{caller.filename}, line {caller.lineno}: the run's own code called"
            f" sys.exit({stop.code!r}); raise an exception instead, which says what is wrong"
        ) from stop


def import_own_module(place: str, name: str) -> ModuleType:
    """Import a module that a config names, which runs its code.

    Args:
        place: such as `model._target_=mine.Net`, for messages.
        name: dotted, of the module.

    Raises:
        ConfigError: when that fails.
    """
    with running_own_code(f"{place}: cannot import {name}"):
        return importlib.import_module(name)


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
    module = import_own_module(f"{key}={target}", module_name)
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
