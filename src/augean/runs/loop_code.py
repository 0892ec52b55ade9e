"""Find the code of a custom loop, which is a part of its run's address."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from augean.config.code_digest import OwnCode, file_code
from augean.errors import ConfigError


@dataclass(frozen=True)
class LoopCode:
    """The code of a custom loop."""

    file: Path
    """The file that calls `augean.run`."""
    root: Path
    """Folder on Python's path from which the file is imported, or in which it lies as a script."""
    code: OwnCode


_first_digests: dict[tuple[Path, int], tuple[object, str]] = {}
"""By a file and the `id` of what this process loaded from it: the latter, which keeps that `id`
from being used again, and the file's digest when a run first asked for it."""


def read_loop(caller: FrameType) -> LoopCode:
    """Return the code of the file that calls `augean.run`.

    Raises:
        ConfigError: when the caller has no file, or a file of its code is not valid Python or has
            changed since this process loaded it.
    """
    file = Path(caller.f_code.co_filename)
    if not file.is_file():
        raise ConfigError(
            "augean.run: a prompt or notebook has no file whose code could be part of the run's"
            " address"
        )
    # A script has no package and lies in the root itself; a module of the package a.b lies two
    # folders below it.
    package = str(caller.f_globals.get("__package__") or "")
    depth = len(package.split(".")) if package else 0
    root = file.parents[depth]
    loop = LoopCode(file=file, root=root, code=file_code(file, root))
    _refuse_changed_files(loop, caller)
    return loop


def _refuse_changed_files(loop: LoopCode, caller: FrameType) -> None:
    """Refuse files that were edited since a run of the code that they were loaded as.

    The digest of a file is that of its text now, while the process goes on with the code that it
    has loaded. A module that is loaded again, as in a notebook, is new code and has the new text.
    """
    for name, digest in loop.code.files.items():
        file = loop.root / name
        loaded = caller.f_code if file == loop.file else _loaded_module(name)
        if loaded is None:
            continue
        _, first_digest = _first_digests.setdefault((file, id(loaded)), (loaded, digest))
        if digest != first_digest:
            raise ConfigError(
                f"augean.run: {file} has changed since this process loaded it: results would be"
                " filed under code that did not make them; start the process again, or load the"
                " module again in a notebook"
            )


def _loaded_module(name: str) -> Any:
    """Return an object that stands for one loading of a module; None where it is not loaded.

    Args:
        name: of the module's file, from the folder on Python's path.
    """
    module_name = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    # Loading it again makes another `__spec__` in the same module.
    return getattr(sys.modules.get(module_name), "__spec__", None)
