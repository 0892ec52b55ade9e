"""Compare two runs: config, data, code, environment, history and scores."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy

from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.config.yaml_files import flatten, parse_yaml
from augean.errors import AugeanError
from augean.regular_files import NOTE_BYTES, read_regular
from augean.store.run_directory import read_verified
from augean.store.run_files import CONFIG, CORRECT, METRICS_FILE
from augean.store.summary import RunSummary, read_summary
from augean.terminal import counted

DATA = ("dataset_title", "data_digest", "weights_digest", "num_train", "num_val", "num_test")
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
"""Column of metrics.csv with the training loss. Every step of an epoch adds to it, so it shows the
first difference."""


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
    """By the name of a section, the entries that differ."""
    scores: list[Entry]
    """All scores, equal ones too."""
    remarks: list[str]
    """What their curves and their answers on test images say, as sentences."""


def compare_runs(first: Path, second: Path) -> RunDifference:
    """Compare the runs in two directories.

    Raises:
        AugeanError: when a directory has no config, or a summary or config is damaged.
    """
    first_facts = _read(first)
    second_facts = _read(second)
    sections = {}
    for name, entries in first_facts.sections.items():
        sections[name] = _differences(entries, second_facts.sections[name])
    scores = []
    for name in SCORES:
        score = getattr(first_facts.summary, name, None)
        other = getattr(second_facts.summary, name, None)
        if score is not None or other is not None:
            scores.append(Entry(name=name, first=score, second=other))
    remarks = [_compare_curves(first, second)]
    if first_facts.summary is not None and second_facts.summary is not None:
        remarks.append(_compare_answers(first, second, first_facts.summary, second_facts.summary))
    return RunDifference(
        sections=sections, scores=scores, remarks=[text for text in remarks if text]
    )


@dataclass(frozen=True)
class _RunFacts:
    """What is known of one run; the sections have the same names for every run."""

    summary: RunSummary | None
    sections: dict[str, dict[str, Any]]


def _read(path: Path) -> _RunFacts:
    summary = read_summary(path)
    if summary is None:
        facts: dict[str, dict[str, Any]] = {
            "config": _read_config(path / CONFIG),
            "data": {},
            "code": {},
            "environment": {},
            "history": {"status": "not finished"},
        }
        return _RunFacts(summary=None, sections=facts)
    config = flatten(summary.config)
    # A custom loop has config keys of its own, of which Augean's defaults say nothing.
    if summary.loop is None:
        config = _neutral_values() | config
    environment = _pick(summary, ENVIRONMENT)
    environment |= summary.torch_settings or {}
    environment |= summary.versions
    history = _pick(summary, HISTORY)
    history["continued"] = None if summary.continued is None else asdict(summary.continued)
    facts = {
        "config": config,
        "data": _pick(summary, DATA),
        "code": _pick(summary, CODE) | (summary.code_digests or {}),
        "environment": environment,
        "history": history,
    }
    return _RunFacts(summary=summary, sections=facts)


def _pick(summary: RunSummary, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in names}


def _neutral_values() -> dict[str, Any]:
    """Return the default of every config key that has one, for keys that a run did not record.

    A key that a later release added has the behaviour of earlier releases as its default.
    """
    # "???" is OmegaConf's mark of a key without a default.
    return {key: value for key, value in flatten_config(Config()).items() if value != "???"}


def _read_config(file: Path) -> dict[str, Any]:
    """Return the config of a run without a summary, with dotted keys.

    Raises:
        AugeanError: when the file is not there, or is not what a run writes.
    """
    try:
        content = parse_yaml(read_regular(file, NOTE_BYTES))
    except (OSError, ValueError) as error:
        raise AugeanError(f"{file}: not the config of a run ({error})") from error
    if not isinstance(content, dict):
        raise AugeanError(f"{file}: not the config of a run")
    content.pop("defaults", None)
    return flatten(content)


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Entry]:
    """Return the entries that differ, in the order of the first run, then of the second."""
    entries = []
    for name in {**first, **second}:
        value = first.get(name)
        other = second.get(name)
        if value != other:
            entries.append(Entry(name=name, first=value, second=other))
    return entries


def _compare_curves(first: Path, second: Path) -> str:
    """Say from which epoch on the training losses differ; "" where they cannot be compared."""
    try:
        losses = _training_losses(first)
        others = _training_losses(second)
    except (OSError, ValueError, IndexError, AugeanError):
        return ""
    # A custom loop need not log its training loss: then the cells are empty.
    if not any(losses) or not any(others):
        return ""
    num_common = min(len(losses), len(others))
    # One of the two may have more epochs.
    for epoch, (loss, other) in enumerate(zip(losses, others, strict=False), start=1):
        if loss != other:
            return f"the training losses differ from epoch {epoch} on"
    return (
        f"the training losses of the first {counted(num_common, 'epoch')} are the same, bit by bit"
    )


def _training_losses(path: Path) -> list[str]:
    """Return a run's training loss of each epoch, as the text that the run wrote."""
    lines = read_verified(path, METRICS_FILE).decode().splitlines()[1:]
    return [line.split(",")[LOSS_COLUMN] for line in lines]


def _compare_answers(
    first: Path, second: Path, first_summary: RunSummary, second_summary: RunSummary
) -> str:
    """Say how many test images only one of the runs gets right; "" where that is not known."""
    num_test = first_summary.num_test
    if num_test is None or first_summary.test_set != second_summary.test_set:
        return ""
    try:
        correct = _correct_images(first, num_test)
        others = _correct_images(second, num_test)
    except (OSError, ValueError, TypeError, AugeanError):
        return ""
    only_first = int((correct & ~others).sum())
    only_second = int((others & ~correct).sum())
    return (
        f"of {counted(num_test, 'test image')} {only_first:,} are right in the first run alone,"
        f" {only_second:,} in the second alone"
    )


def _correct_images(path: Path, num_test: int) -> numpy.ndarray[Any, Any]:
    """Return which test images a run classified right: bool [images]."""
    content = read_verified(path, CORRECT)
    packed = numpy.load(io.BytesIO(content), allow_pickle=False)  # eight images a byte
    return numpy.unpackbits(packed, count=num_test).astype(bool)
