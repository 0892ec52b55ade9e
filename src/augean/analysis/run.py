"""One run as the analysis sees it."""

from dataclasses import dataclass, field
from typing import Any

from augean.analysis.freshness import Freshness
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
"""Entries of a summary that a data frame does not have, or has under another name."""


@dataclass
class Run:
    """A run that a directory holds, or that a sweep record asks for."""

    id: str
    directory: str
    """Name of the folder in outputs/runs."""
    state: RunState
    seed: int | None = None
    """Of its config, else of the sweep record that names it."""
    summary: RunSummary | None = None
    """None until the run is completed."""
    freshness: Freshness | None = None
    """Whether it is outdated; None where that was not asked, or the run is not completed."""
    weights_removed: bool = False
    """Whether `augean clean` has removed its weights."""
    recorded_config: dict[str, str] = field(default_factory=dict)
    """What a sweep record says of the config of a run without a summary."""

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
        if self.summary is not None:
            for key, value in self.summary.entries().items():
                if key not in NOT_COLUMNS:
                    columns.setdefault(key, value)
            diverged = self.summary.diverged
            columns["diverged_epoch"] = None if diverged is None else diverged.epoch
            for key, value in self.summary.config.items():
                columns.setdefault(key, value)
            for name, text in self.summary.versions.items():
                columns[f"versions.{name}"] = text
        if self.seed is not None:
            columns.setdefault("seed", self.seed)
        for key, label in self.recorded_config.items():
            columns.setdefault(key, label)
        return columns
