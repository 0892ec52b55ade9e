"""Hold one run as the analysis sees it: its state, its columns, and the command that trains it."""

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from augean.analysis.freshness import Freshness, own_packages
from augean.config.labels import canonical_label, row_label
from augean.config.override_text import override_text
from augean.config.schema import TRUSTED_PACKAGES
from augean.errors import AugeanError
from augean.regular_files import CONFIG_BYTES, read_regular
from augean.store.run_directory import place_at
from augean.store.run_files import CONFIG
from augean.store.summary import RunState, RunSummary

NOT_COLUMNS = frozenset(
    {
        "schema",
        "files",
        "status",
        "id",
        "config",
        "versions",
        "diverged",
        "continued",
        "torch_settings",
        "dead_units",
        "code_digests",
        "places",
    }
)
"""Entries of a summary that are no columns, or columns under another name."""


@dataclass
class Run:
    """A run that a directory holds, or that a sweep record asks for."""

    id: str
    directory: str
    """Name of the folder in outputs/runs."""
    state: RunState
    seed: int | None = None
    """The seed in its config, else the one in the sweep record that names it."""
    summary: RunSummary | None = None
    """None until the run is completed."""
    freshness: Freshness | None = None
    """Whether it is outdated; None where nobody asked for it, or the run is not completed."""
    weights_removed: bool = False
    """Whether `augean clean` has removed its weights."""
    recorded_config: dict[str, str] = field(default_factory=dict)
    """The labels by key that a sweep record gives a run without a summary."""

    @property
    def config(self) -> dict[str, Any]:
        """The config, flat; without a summary only what a sweep record says of it."""
        if self.summary is None:
            return dict(self.recorded_config)
        return self.summary.config

    @property
    def test_accuracy(self) -> float | None:
        """A fraction; None where the run has no score."""
        return None if self.summary is None else self.summary.test_accuracy

    def columns(self) -> dict[str, Any]:
        """Return the run as flat columns: scores, config keys and versions.

        A run without a summary has id, directory and state, and what a sweep record says of it.
        """
        columns: dict[str, Any] = {
            "id": self.id,
            "directory": self.directory,
            "state": str(self.state),
        }
        if self.freshness is not None:
            columns["outdated"] = self.freshness.outdated
        # Where two sources have a column of one name, the first one that is added stays.
        if self.summary is not None:
            _add(columns, _summary_columns(self.summary))
            _add(columns, self.summary.config)
            for name, version in self.summary.versions.items():
                columns[f"versions.{name}"] = version
        if self.seed is not None:
            columns.setdefault("seed", self.seed)
        _add(columns, self.recorded_config)
        return columns

    def is_selected(self, terms: Mapping[str, Sequence[str]]) -> bool:
        """Return whether for each column named in `terms` one of its patterns holds."""
        columns = self.columns()
        for key, patterns in terms.items():
            if key not in columns or not matches(columns[key], patterns):
                return False
        return True


def _add(columns: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add columns of which there is none of that name yet."""
    for key, value in more.items():
        columns.setdefault(key, value)


def _summary_columns(summary: RunSummary) -> dict[str, Any]:
    columns = {key: value for key, value in summary.entries().items() if key not in NOT_COLUMNS}
    columns["diverged_epoch"] = None if summary.diverged is None else summary.diverged.epoch
    return columns


def matches(value: Any, patterns: Iterable[str]) -> bool:
    """Return whether a value, as a row's label, is like one of the patterns with `*` and `?`."""
    label = canonical_label(row_label(value))
    return any(fnmatchcase(label, canonical_label(pattern)) for pattern in patterns)


def parse_terms(select: str, keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the patterns of each key of a selection such as `optimizer.name=sgd,adam seed=0`.

    Args:
        keys: those that a term may have; a group's name stands for its `.name`.
    """
    valid = set(keys)
    terms = {}
    for term in select.split():
        key, equals, values = term.partition("=")
        if key not in valid and f"{key}.name" in valid:
            key = f"{key}.name"
        if not equals or key not in valid:
            close = difflib.get_close_matches(key, sorted(valid), 3) or sorted(valid)[:12]
            raise AugeanError(
                f"select {term!r}: not key=value with a key of the runs, such as {', '.join(close)}"
            )
        terms[key] = values.split(",")
    return terms


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
