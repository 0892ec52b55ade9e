"""A copy of the user's own code, so that a job that waits in a queue runs what was submitted."""

import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from augean.config.code_digest import is_installed, module_code
from augean.config.schema import TRUSTED_PACKAGES, Config
from augean.config.validation import class_targets
from augean.errors import AugeanError

CODE = "AUGEAN_CODE"
"""Environment variable: the folder of the copy that a process and its children import from."""


def snapshot_code(configs: Iterable[Config], folder: Path) -> str | None:
    """Copy the packages of own classes, with what they import from beside them.

    Python files are copied; others are links to the originals, as data may be large. Installed
    packages stay where they are, as nobody edits them.

    Args:
        folder: gets a folder for each content.

    Returns:
        The absolute path of the copy, for `use_snapshot`; None where there is no own code.

    Raises:
        AugeanError: when it cannot be read or written.
    """
    sources: dict[str, Path] = {}
    for config in configs:
        for root, top in _own_parts(config):
            sources.setdefault(top, root / top)
    if not sources:
        return None
    folder = folder.absolute()
    try:
        target = folder / _digest(sources)
    except OSError as error:
        raise AugeanError(f"{error.filename}: cannot read the code ({error.strerror})") from error
    if not target.is_dir():
        temporary = folder / f".{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            for source in sources.values():
                _copy(source, temporary)
            temporary.rename(target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            # Another submission of the same code may have made it meanwhile.
            if not target.is_dir():
                raise AugeanError(f"cannot copy the code to {target}: {error.strerror}") from error
    return str(target)


def _own_parts(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the folders on Python's path, and the names in them, that own classes come from."""
    # A study may choose any class of the packages that it may name.
    for package in config.runtime.allowed_packages:
        place = _place(package)
        if place is not None:
            yield place.parent, place.name
    for target in class_targets(config).values():
        module = target.rpartition(".")[0]
        if module.split(".")[0] in TRUSTED_PACKAGES:
            continue
        place = _place(module)
        if place is not None:
            for file in module_code(module).files:
                yield place.parent, file.split("/")[0]


def _place(module: str) -> Path | None:
    """Return the folder, or the file, of a module's package; None where it is an installed one."""
    try:
        spec = importlib.util.find_spec(module.split(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    if not places and spec.origin is not None:
        places = [spec.origin]
    if not places or is_installed(Path(places[0]).parent):
        return None
    return Path(places[0])


def _files(source: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield a file, or the files below a folder, without hidden ones and compiled code.

    Args:
        above: the folders that hold this one, without links.
    """
    if source.is_dir():
        folder = source.resolve()
        # A link to a folder that holds it would be followed for ever.
        if folder in above:
            return
        for inner in sorted(source.iterdir()):
            if inner.name != "__pycache__" and not inner.name.startswith("."):
                yield from _files(inner, (*above, folder))
    # A link may lead to data that only the machine of the job has.
    elif source.is_file() or source.is_symlink():
        yield source


def _is_code(file: Path) -> bool:
    """Return whether a file is copied, and not linked to."""
    return file.suffix == ".py" and file.is_file()


def _digest(sources: dict[str, Path]) -> str:
    """Return a digest of what `_copy` makes of all sources."""
    digest = hashlib.sha256()
    for top in sorted(sources):
        source = sources[top]
        for file in _files(source):
            content = file.read_bytes() if _is_code(file) else os.fsencode(file.absolute())
            digest.update(os.fsencode(file.relative_to(source.parent)) + b"\0")
            digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _copy(source: Path, folder: Path) -> None:
    """Copy a file or a folder into another folder: Python files, and links to all others."""
    for file in _files(source):
        target = folder / file.relative_to(source.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_code(file):
            shutil.copyfile(file, target)
        else:
            target.symlink_to(file.absolute())


def use_snapshot(folder: str | None = None) -> None:
    """Import from a copy of the code from here on, in child processes too.

    Args:
        folder: what `snapshot_code` returned; None for that of the parent process, if it has one.
    """
    folder = folder or os.environ.get(CODE)
    if folder is None or folder in sys.path[:1]:
        return
    os.environ[CODE] = folder
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
