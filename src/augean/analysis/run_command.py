"""Write the command that trains a single run from its own config.yaml, as a person can type it."""

import os
import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from augean.analysis.freshness import own_packages
from augean.config.override_text import override_text
from augean.config.schema import TRUSTED_PACKAGES
from augean.regular_files import CONFIG_BYTES, read_regular
from augean.store.run_directory import place_at
from augean.store.run_files import CONFIG
from augean.store.summary import RunSummary


def run_command(path: Path, summary: RunSummary | None, into: str | None = None) -> str:
    """Return the command that trains the run at `path`.

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

    config = shlex.quote(seen_from(path, start))
    if not config.lstrip("'").startswith("/"):
        # Hydra takes a relative path as one beside its own config.
        config = f'"$PWD"/{config}'
    words = " ".join(map(shlex.quote, overrides))
    command = f"augean train -cp {config} -cn config {words}".rstrip()
    if start == here:
        return command
    return f"cd {shlex.quote(str(start))} && {command}"


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
