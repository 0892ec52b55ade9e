"""Hold one run as the analysis sees it: its state and its columns."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from augean.analysis.freshness import Freshness
from augean.config.labels import canonical_label, row_label
from augean.errors import AugeanError
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
