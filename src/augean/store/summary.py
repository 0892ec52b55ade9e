"""The summary of a completed run, and its file `summary.json`.

The file is written last: it exists if and only if the run is finished or diverged. `write_summary`
is its only writer and `read_summary` its only reader.
"""

import json
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from augean.errors import AugeanError
from augean.store.files import content_digest, file_sha256, write_atomic

SUMMARY = "summary.json"
DIGESTED_FILES = (
    "config.yaml",
    "metrics.csv",
    "model.json",
    "confusion.csv",
    "correct.npy",
    "steps.npy",
    "probe.csv",
    "best.pt",
    "state.pt",
)
"""Files whose sha256 the summary holds."""


class RunState(StrEnum):
    """The state of a run, as its directory and its lock show it; in the order of reports."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    MISSING = "missing"

    @property
    def is_completed(self) -> bool:
        """Whether the run has its result, so that it is never trained again."""
        return self in (RunState.FINISHED, RunState.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where a run's loss became NaN or infinite."""

    epoch: int
    """1-based."""
    step: int | None = None
    """1-based step of the epoch; None where only a validation or test loss showed it."""
    last_loss: float | None = None
    """The last finite training loss; None where there was none."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What is known of a completed run. A custom loop need not record what may be None."""

    id: str
    status: RunState
    """Finished or diverged."""
    config: dict[str, Any]
    """The config, flat: dotted keys with plain values."""
    schema: int | None = None
    core: int | None = None
    """Number of Augean's own mathematics; None for a custom loop."""
    diverged: Divergence | None = None
    dataset_title: str | None = None
    num_train: int | None = None
    """Images, like `num_val` and `num_test`."""
    num_val: int | None = None
    num_test: int | None = None
    epochs: int = 0
    """Epochs that were trained to their end."""
    selected_epoch: int | None = None
    """The epoch whose weights were tested; its scores are the next three."""
    val_accuracy: float | None = None
    """Fraction, like all accuracies. None without a validation split."""
    val_loss: float | None = None
    train_accuracy: float | None = None
    test_accuracy: float | None = None
    """None for a diverged run, like `test_loss`."""
    test_loss: float | None = None
    seconds: float | None = None
    """Wall time of all sessions: training, evaluation and checkpoints."""
    train_seconds: float | None = None
    images_per_second: float | None = None
    """Median over the epochs, of training only."""
    peak_memory_mb: float | None = None
    """On the GPU; None on other devices."""
    parameters: int | None = None
    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    instruction_set: str | None = None
    """Of the processor, as torch uses it, such as AVX512; None: not recorded, or another device
    computed."""
    torch_settings: dict[str, Any] | None = None
    """Settings that change what torch computes and differ from its defaults, by name; None: not
    recorded."""
    dead_units: dict[str, float] | None = None
    """Share of the channels that are zero on every test image, by layer, in the order of execution;
    empty where the activation is never zero; None: not recorded."""
    data_digest: str | None = None
    """Content digest of the data set, as it is in the run id; None: not recorded, or a custom loop
    reads data of its own."""
    code_digests: dict[str, str] | None = None
    """Digest of each file of own code that is in the run id, by its path; None: not recorded."""
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    host: str | None = None
    started: str | None = None
    """ISO 8601 in UTC, like `finished`."""
    finished: str | None = None
    num_resumes: int = 0
    note: str = ""
    """Remarks of resumes: damaged checkpoints, another environment."""
    loop: str | None = None
    """File name of a custom loop; None for Augean's own."""
    loop_digest: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of the run's other files, by name."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further plain entries that a custom loop gave."""

    def entries(self) -> dict[str, Any]:
        """Return the entries as summary.json holds them, with the facts among them.

        Augean's own loop has every entry, as null where there is none. A custom loop has those
        that it recorded.
        """
        entries: dict[str, Any] = {}
        for name in FIELD_NAMES:
            value = getattr(self, name)
            if value is None and (self.loop is not None or name in ("loop", "loop_digest")):
                continue
            entries[name] = value
        entries["status"] = str(self.status)
        if self.diverged is not None:
            entries["diverged"] = asdict(self.diverged)
        return self.facts | entries


FIELD_NAMES = tuple(item.name for item in fields(RunSummary) if item.name != "facts")


class _WrongValue(Exception):
    """An entry is not what it must be."""


def write_summary(path: Path, summary: RunSummary) -> RunSummary:
    """Write summary.json with the digests of the run's other files and of the summary itself.

    Args:
        path: the run's directory, with all its other files.

    Returns:
        The summary as it is read back, with its `files`.

    Raises:
        AugeanError: when a value could not be read back, or the file cannot be written.
    """
    digests = {}
    for name in DIGESTED_FILES:
        if (path / name).exists():
            digests[name] = file_sha256(path / name)
    file = path / SUMMARY
    complete = parse_entries(replace(summary, files=digests).entries(), str(file))
    content = complete.entries()
    content["sha256"] = content_digest(content)
    write_atomic(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return complete


def read_summary(path: Path, identity: str | None = None) -> RunSummary | None:
    """Return the summary of the completed run at `path`; None while there is none.

    Args:
        identity: the run that it must be of, as a directory may have been copied over another's.

    Raises:
        AugeanError: when the file cannot be read, is not a summary, holds a value of another type,
            belongs to another run, or was altered after it was written.
    """
    file = path / SUMMARY
    try:
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        # ValueError: bytes that are not text, or a path that cannot be one.
        raise AugeanError(f"{file}: cannot be read ({error})") from error
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise AugeanError(f"{file}: not the summary of a run")
        digest = content.pop("sha256", None)
        if digest != content_digest(content):
            raise AugeanError(f"{file}: was altered or damaged after it was written")
        summary = parse_entries(content, str(file))
    except (ValueError, RecursionError) as error:
        raise AugeanError(f"{file}: no valid JSON ({error})") from error
    if identity not in (None, summary.id):
        raise AugeanError(f"{file}: is the summary of run {summary.id}, not of {identity}")
    return summary


def parse_entries(entries: Mapping[str, Any], place: str) -> RunSummary:
    """Make a summary from flat entries; those that no field has become its facts.

    Args:
        place: begins the messages of errors.

    Raises:
        AugeanError: when an entry is of another type or out of range, with its key.
    """
    values: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for name, value in entries.items():
        try:
            if name not in FIELD_NAMES:
                facts[_text(name)] = _plain(value)
            elif value is not None:
                values[name] = _PARSERS[name](value)
        except _WrongValue as error:
            reason = f"{ascii(name)[1:-1]}={reprlib.repr(value)}: must be {error}"
            raise AugeanError(f"{place}: {reason}") from error
    for name in ("id", "status", "config"):
        if name not in values:
            raise AugeanError(f"{place}: {name}: is absent; not the summary of a run")
    diverged = values["status"] == RunState.DIVERGED
    if diverged != ("diverged" in values):
        raise AugeanError(
            f"{place}: diverged: must be there if and only if status is {RunState.DIVERGED}"
        )
    return RunSummary(**values, facts=facts)


def _refuse(expected: str) -> NoReturn:
    raise _WrongValue(expected)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _refuse("text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no file and no page can hold
        _refuse("text in valid Unicode")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse("a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse("a finite number")
    return number


def _count(value: Any) -> int:
    number = _number(value)
    if number < 0 or not number.is_integer():
        _refuse("a whole number, 0 or more")
    return int(value)


def _fraction(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        _refuse("a fraction from 0 to 1")
    return number


def _status(value: Any) -> RunState:
    if value not in (RunState.FINISHED, RunState.DIVERGED):
        _refuse(f"{RunState.FINISHED} or {RunState.DIVERGED}")
    return RunState(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    _refuse("plain: text, a number, or lists and mappings of them")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse("a mapping")
    content: dict[str, Any] = _plain(value)
    return content


def _texts(value: Any) -> dict[str, str]:
    return {name: _text(text) for name, text in _mapping(value).items()}


def _fractions(value: Any) -> dict[str, float]:
    return {name: _fraction(share) for name, share in _mapping(value).items()}


def _divergence(value: Any) -> Divergence:
    content = _mapping(value)
    step, last_loss = content.get("step"), content.get("last_loss")
    return Divergence(
        epoch=_count(content.get("epoch")),
        step=None if step is None else _count(step),
        last_loss=None if last_loss is None else _number(last_loss),
    )


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "id": _text,
    "status": _status,
    "config": _mapping,
    "schema": _count,
    "core": _count,
    "diverged": _divergence,
    "dataset_title": _text,
    "num_train": _count,
    "num_val": _count,
    "num_test": _count,
    "epochs": _count,
    "selected_epoch": _count,
    "val_accuracy": _fraction,
    "val_loss": _number,
    "train_accuracy": _fraction,
    "test_accuracy": _fraction,
    "test_loss": _number,
    "seconds": _number,
    "train_seconds": _number,
    "images_per_second": _number,
    "peak_memory_mb": _number,
    "parameters": _count,
    "device": _text,
    "precision": _text,
    "threads": _count,
    "instruction_set": _text,
    "torch_settings": _mapping,
    "dead_units": _fractions,
    "data_digest": _text,
    "code_digests": _texts,
    "versions": _texts,
    "git_commit": _text,
    "host": _text,
    "started": _text,
    "finished": _text,
    "num_resumes": _count,
    "note": _text,
    "loop": _text,
    "loop_digest": _text,
    "files": _texts,
}
"""How the value of each entry is read; each raises `_WrongValue` with what it must be."""
