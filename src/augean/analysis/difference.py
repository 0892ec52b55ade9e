"""What differs between two runs: config, data, code, environment, history and scores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import yaml

from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.errors import AugeanError
from augean.store.run_directory import read_verified
from augean.store.summary import RunSummary, read_summary

DATA = ("dataset_title", "data_digest", "num_train", "num_val", "num_test")
CODE = ("schema", "core", "git_commit", "loop", "loop_digest")
ENVIRONMENT = ("device", "threads", "instruction_set", "host")
HISTORY = ("status", "epochs", "num_resumes", "note")
SCORES = (
    "test_accuracy",
    "test_loss",
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "selected_epoch",
    "seconds",
    "images_per_second",
)
LOSS_COLUMN = 2
"""Column of metrics.csv with the training loss, which every step of an epoch has a part in."""


@dataclass(frozen=True)
class Entry:
    """A value that two runs have; None where one has not recorded it."""

    name: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """The second value minus the first; None where they are not two numbers."""
        for value in (self.first, self.second):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
        return float(self.second - self.first)


@dataclass(frozen=True)
class RunDifference:
    """The comparison of two runs."""

    sections: dict[str, list[Entry]]
    """By the name of a section, the entries that differ; none where all are the same."""
    scores: list[Entry]
    """All scores, equal ones too."""
    remarks: list[str]
    """What the files of the runs say, as sentences."""


def compare_runs(first: Path, second: Path) -> RunDifference:
    """Compare the runs in two directories.

    Raises:
        AugeanError: when a directory has no config, or a summary or config is damaged.
    """
    runs = (_read(first), _read(second))
    sections = {}
    for name in runs[0].sections:
        sections[name] = _differences(runs[0].sections[name], runs[1].sections[name])
    summaries = (runs[0].summary, runs[1].summary)
    scores = []
    for name in SCORES:
        values = [getattr(summary, name, None) for summary in summaries]
        if values != [None, None]:
            scores.append(Entry(name=name, first=values[0], second=values[1]))
    remarks = [_first_other_epoch(first, second), _answers(first, second, summaries)]
    return RunDifference(
        sections=sections, scores=scores, remarks=[text for text in remarks if text]
    )


@dataclass(frozen=True)
class _RunFacts:
    summary: RunSummary | None
    sections: dict[str, dict[str, Any]]


def _read(path: Path) -> _RunFacts:
    summary = read_summary(path)
    if summary is None:
        facts: dict[str, dict[str, Any]] = {
            "config": _read_config(path / "config.yaml"),
            "data": {},
            "code": {},
            "environment": {},
            "history": {"status": "not finished"},
        }
        return _RunFacts(summary=None, sections=facts)
    config = _flatten(summary.config)
    if summary.loop is None:
        config = _neutral_values() | config
    continued = None if summary.continued is None else asdict(summary.continued)
    files = summary.code_digests or {}
    facts = {
        "config": config,
        "data": _pick(summary, DATA),
        "code": _pick(summary, CODE) | files,
        "environment": {
            **_pick(summary, ENVIRONMENT),
            **(summary.torch_settings or {}),
            **summary.versions,
        },
        "history": _pick(summary, HISTORY) | {"continued": continued},
    }
    return _RunFacts(summary=summary, sections=facts)


def _pick(summary: RunSummary, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in names}


def _neutral_values() -> dict[str, Any]:
    """Return the keys that a run of an earlier release lacks, with what it did then."""
    return {key: value for key, value in flatten_config(Config()).items() if value != "???"}


def _read_config(file: Path) -> dict[str, Any]:
    """Return the config of a run without a summary, with dotted keys.

    Raises:
        AugeanError: when the file is not there, or is not what a run writes.
    """
    try:
        text = file.read_text()
        # Augean writes no aliases; with them a small file can stand for an endless config.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise AugeanError(f"{file}: has aliases, so it is not the config of a run")
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise AugeanError(f"{file}: not the config of a run ({error})") from error
    if not isinstance(content, dict):
        raise AugeanError(f"{file}: not the config of a run")
    content.pop("defaults", None)
    return _flatten(content)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with dotted keys; an empty mapping has none."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Entry]:
    entries = []
    for name in {**first, **second}:
        values = (first.get(name), second.get(name))
        if values[0] != values[1]:
            entries.append(Entry(name=name, first=values[0], second=values[1]))
    return entries


def _first_other_epoch(first: Path, second: Path) -> str:
    """Say from which epoch on the training losses differ; "" where they cannot be compared."""
    curves = []
    for path in (first, second):
        try:
            lines = read_verified(path, "metrics.csv").decode().splitlines()[1:]
            curves.append([line.split(",")[LOSS_COLUMN] for line in lines])
        except (OSError, ValueError, IndexError, AugeanError):
            return ""
    common = min(len(curve) for curve in curves)
    if common == 0:
        return ""
    for epoch, losses in enumerate(zip(curves[0], curves[1], strict=False), start=1):
        if losses[0] != losses[1]:
            return f"the training losses differ from epoch {epoch} on"
    return f"the training losses of the first {common} epochs are the same, bit by bit"


def _answers(
    first: Path, second: Path, summaries: tuple[RunSummary | None, RunSummary | None]
) -> str:
    """Say which test images only one of the runs gets right; "" where that is not known."""
    if summaries[0] is None or summaries[1] is None:
        return ""
    num_test = summaries[0].num_test
    same_test = summaries[0].data_digest == summaries[1].data_digest
    if num_test is None or num_test != summaries[1].num_test or not same_test:
        return ""
    answers = []
    for path in (first, second):
        try:
            read_verified(path, "correct.npy")
            bits = numpy.load(path / "correct.npy", allow_pickle=False)
            answers.append(numpy.unpackbits(bits, count=num_test).astype(bool))
        except (OSError, ValueError, TypeError, AugeanError):
            return ""
    only_first = int((answers[0] & ~answers[1]).sum())
    only_second = int((answers[1] & ~answers[0]).sum())
    return (
        f"of {num_test:,} test images {only_first:,} are right in the first run alone,"
        f" {only_second:,} in the second alone"
    )
