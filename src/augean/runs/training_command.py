"""Return the command that trains a run once more, from its own config.yaml."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from augean.config.override_text import override_text
from augean.config.schema import TRUSTED_PACKAGES
from augean.config.validation import own_packages
from augean.errors import AugeanError
from augean.regular_files import CONFIG_BYTES, read_regular
from augean.store.find_run import find_run
from augean.store.run_directory import place_at, runs_dir
from augean.store.run_files import CONFIG
from augean.store.summary import RunSummary
from augean.store.weights_file import RUN

RETRAIN_FOLDER = "retrained"
"""Folder beside the outputs for runs that are trained once more, to get lost weights back."""


def run_command(path: Path, summary: RunSummary | None, into: str | None = None) -> str:
    """Return the command that trains the run at `path` from its own config.yaml, as one types it.

    It works in the folder where this is called. For own code it changes to the folder in which that
    lay, if it is known.

    Args:
        path: the run's directory, `<outputs>/runs/<name>-<id>`.
        summary: None for a run that is not completed.
        into: another folder of outputs, beside the run's own; None: the run's own, where it is not
            trained again once it is completed.
    """
    outputs = path.parent.parent
    places: dict[str, str] = {}
    if summary is None:
        packages = _packages_in_file(path / CONFIG)
    else:
        packages = own_packages(summary.config)
        places = summary.places or {}

    # Own code is imported from the folder in which the run was started.
    here = Path.cwd()
    start = here
    has_own_files = bool(packages or (summary is not None and summary.code_digests))
    if has_own_files and "start" in places and place_at(outputs, places["start"]).is_dir():
        start = place_at(outputs, places["start"])

    # Folders as they are named from there.
    target = outputs
    if into is not None:
        target = outputs.absolute().with_name(into)
    overrides = [*_folder_overrides("outputs", target, start)]
    if "data" in places and place_at(outputs, places["data"]).is_dir():
        overrides += _folder_overrides("data", place_at(outputs, places["data"]), start)
    if packages:
        overrides.append(f"runtime.allowed_packages=[{','.join(packages)}]")
    if into is not None and summary is not None:
        overrides += _weights_overrides(outputs, summary)

    config = shlex.quote(seen_from(path, start))
    if not config.lstrip("'").startswith("/"):
        # Hydra takes a relative path as one beside its own config.
        config = f'"$PWD"/{config}'
    words = " ".join(map(shlex.quote, overrides))
    command = f"augean train -cp {config} -cn config {words}".rstrip()
    if start == here:
        return command
    return f"cd {shlex.quote(str(start))} && {command}"


def retrained_path(path: Path) -> Path:
    """Return the directory that a run gets when it is trained once more into `RETRAIN_FOLDER`."""
    # A run lies in <outputs>/runs/<run>.
    outputs = path.absolute().parent.parent
    return runs_dir(outputs.with_name(RETRAIN_FOLDER)) / path.name


def _weights_overrides(outputs: Path, summary: RunSummary) -> Iterator[str]:
    """Yield what names the run of the weights by its path, for a command with other outputs.

    An id would not be found among those. The address stays, as it has the weights by content.
    """
    name = summary.config.get("model.weights")
    if not isinstance(name, str) or not name.startswith(RUN):
        return
    try:
        path = find_run(name.removeprefix(RUN), outputs).absolute()
    except AugeanError:
        return  # the command will say that there is no such run
    text = override_text(f"{RUN}{path}", "model.weights")
    # Hydra needs no quotes for a colon, and two kinds of quotes are hard to read.
    if override_text(str(path), "model.weights") == str(path):
        text = f"{RUN}{path}"
    yield f"model.weights={text}"


# Cached, as a report asks for each of its runs.
@lru_cache(maxsize=64)
def _folder_overrides(key: str, folder: Path, start: Path) -> tuple[str, ...]:
    """Return what sets a folder under `runtime`; nothing where it is the default one."""
    text = seen_from(folder, start)
    return () if text == key else (f"runtime.{key}={override_text(text, key)}",)


def seen_from(path: Path, start: Path) -> str:
    """Return a path as it is named in a folder: relative where it lies below that."""
    relative = os.path.relpath(path, start)
    return os.path.abspath(path) if relative.startswith("..") else relative


def _packages_in_file(file: Path) -> Sequence[str]:
    """Return the packages of own code that the config of an uncompleted run names."""
    try:
        text = read_regular(file, CONFIG_BYTES).decode()
    except (OSError, ValueError):
        return []
    # Not parsed: a YAML file of a stranger's can take for ever.
    packages = re.findall(r"^ +_target_: (\w+)\.[\w.]+$", text, re.MULTILINE)
    return sorted(set(packages) - {*TRUSTED_PACKAGES})
