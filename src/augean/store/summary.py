"""Define the summary of a completed run, and write and read its file `summary.json`.

The file is written last: it exists if and only if the run is finished or diverged. Only
`write_summary` writes it and only `read_summary` reads it.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.regular_files import NOTE_BYTES, digest_regular, parse_json, read_regular
from augean.store.files import json_digest, write_atomic
from augean.store.run_files import DIGESTED_FILES, SUMMARY
from augean.store.values import (
    WrongValueError,
    as_amount,
    as_count,
    as_fraction,
    as_fractions,
    as_mapping,
    as_number,
    as_plain,
    as_text,
    as_texts,
    refuse,
)


class RunState(StrEnum):
    """The state of a run, as its directory and its lock show it. Reports keep this order."""

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
    """The place in a run where its loss became NaN or infinite."""

    epoch: int
    """1-based."""
    step: int | None = None
    """1-based, within the epoch; None where it was the validation or test loss that diverged."""
    last_loss: float | None = None
    """The last finite training loss; None where no loss was finite."""


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """The beginning of a run that continues a shorter training of the same config."""

    run: str
    """Id of the shorter run."""
    epoch: int
    """The last epoch that was trained there."""
    seconds: float
    """Wall time that was spent there: a part of the run's own `seconds`."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The results and circumstances of a completed run.

    A custom loop need not record the entries that may be None.
    """

    id: str
    status: RunState
    """Finished or diverged."""
    config: dict[str, Any]
    """The config, flat: dotted keys with plain values."""
    schema: int | None = None
    """Version of the config's keys, a part of the run id."""
    core: int | None = None
    """Version of Augean's mathematics, a part of the run id; None for a custom loop."""
    diverged: Divergence | None = None
    dataset_title: str | None = None
    num_train: int | None = None
    """Number of training images; `num_val` and `num_test` likewise."""
    num_val: int | None = None
    num_test: int | None = None
    epochs: int = 0
    """Epochs that were trained to their end."""
    selected_epoch: int | None = None
    """The epoch that was selected, from 1; 0 where none was completed. A finished run was tested
    with its weights. The next three entries are its scores."""
    val_accuracy: float | None = None
    """A fraction from 0 to 1, as all accuracies are; None without a validation split."""
    val_loss: float | None = None
    train_accuracy: float | None = None
    test_accuracy: float | None = None
    """None for a diverged run, like `test_loss`."""
    test_loss: float | None = None
    seconds: float | None = None
    """Wall time of all sessions, with evaluation and checkpoints, that of `continued` included."""
    train_seconds: float | None = None
    """The part of `seconds` that was spent on training steps alone."""
    images_per_second: float | None = None
    """Training images; the median over the epochs."""
    peak_memory_mb: float | None = None
    """MB (1,000,000 bytes) on the GPU; None on other devices."""
    parameters: int | None = None
    """Number of values in the network's parameters."""
    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    """Number of CPU threads of torch."""
    instruction_set: str | None = None
    """The processor's vector instructions that torch uses, such as AVX512; None: not recorded, or
    the run was not on a CPU."""
    torch_settings: dict[str, Any] | None = None
    """Values, by name, of the settings that change what torch computes, where they differ from its
    defaults; None: not recorded."""
    dead_units: dict[str, float] | None = None
    """Share of the channels that are zero on every test image, by layer, in the order of execution.
    Empty where the activation is never zero; None: not recorded."""
    data_digest: str | None = None
    """Content digest of the data set, a part of the run id; None: not recorded, or a custom loop
    reads its own data."""
    weights_digest: str | None = None
    """Digest of the file of `model.weights`, a part of the run id; None: random weights, or not
    recorded."""
    code_digests: dict[str, str] | None = None
    """Digests of the user's own code that is a part of the run id, by the path of each file; None:
    not recorded."""
    places: dict[str, str] | None = None
    """Folders, as seen from that of the outputs: `start`, where the command was given; `data` and
    `cache`; `loop`, from which a custom loop imports. None: not recorded."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Augean, Python and other packages, by name."""
    git_commit: str | None = None
    host: str | None = None
    started: str | None = None
    """ISO 8601 in UTC, like `finished`."""
    finished: str | None = None
    num_resumes: int = 0
    """How many times the run was resumed from a checkpoint."""
    continued: Continuation | None = None
    """The shorter training that the run continues; None for one that was trained from the start."""
    note: str = ""
    """Remarks on the resumes, such as a damaged checkpoint or another environment."""
    loop: str | None = None
    """File name of a custom loop; None for Augean's own."""
    loop_digest: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of the run's other files, by name."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further entries that a custom loop recorded, as plain values."""

    def entries(self) -> dict[str, Any]:
        """Return the entries as summary.json holds them, with the facts at the same level.

        For Augean's own loop an entry that is None is written as null. For a custom loop it is left
        out.
        """
        entries: dict[str, Any] = {}
        for name in FIELD_NAMES:
            value = getattr(self, name)
            if value is None and (self.loop is not None or name in OPTIONAL):
                continue
            entries[name] = value
        # Plain values in place of this module's own types.
        entries["status"] = str(self.status)
        if self.diverged is not None:
            entries["diverged"] = asdict(self.diverged)
        if self.continued is not None:
            entries["continued"] = asdict(self.continued)
        # A fact never replaces an entry.
        return self.facts | entries

    @property
    def test_set(self) -> tuple[str | None, int]:
        """What identifies the test set: digest of the data, or its title, and number of images."""
        # A custom loop need not say which data it read.
        return self.data_digest or self.dataset_title, self.num_test or 0

    @property
    def own_seconds(self) -> float | None:
        """The wall time that this run cost beyond the one that it continues."""
        if self.seconds is None or self.continued is None:
            return self.seconds
        return self.seconds - self.continued.seconds


FIELD_NAMES = tuple(item.name for item in fields(RunSummary) if item.name != "facts")
"""Keys of summary.json; all other keys in it are facts."""
OPTIONAL = ("loop", "loop_digest", "continued")
"""Keys that are left out where they are None: few runs have them."""


def write_summary(path: Path, summary: RunSummary) -> RunSummary:
    """Write summary.json with the digests of the run's other files and of the summary itself.

    Args:
        path: the run's directory, with all its other files.

    Returns:
        The summary as `read_summary` returns it, with its `files`.

    Raises:
        AugeanError: when `read_summary` would refuse a value, or the file cannot be written.
    """
    digests = {}
    for name in DIGESTED_FILES:
        if (path / name).exists():
            digests[name] = digest_regular(path / name)
    file = path / SUMMARY
    # The same checks as on reading, so that no summary is written that cannot be read.
    complete = parse_entries(replace(summary, files=digests).entries(), str(file))
    content = complete.entries()
    content["sha256"] = json_digest(content)
    write_atomic(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return complete


def read_summary(path: Path, run_id: str | None = None) -> RunSummary | None:
    """Return the summary of the completed run at `path`; None while there is none.

    Args:
        run_id: the id that the summary must have, as a directory may be a copy of another run's.

    Raises:
        AugeanError: when the file cannot be read, is not a summary, holds a value of a wrong type,
            belongs to another run, or was altered after it was written.
    """
    file = path / SUMMARY
    try:
        binary = read_regular(file, NOTE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AugeanError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # the path holds a NUL
        raise AugeanError(f"{file}: cannot be read ({error})") from error
    try:
        content = parse_json(binary)
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise AugeanError(f"{file}: not the summary of a run")
        digest = content.pop("sha256", None)
        if digest != json_digest(content):
            raise AugeanError(f"{file}: was altered or damaged after it was written")
        summary = parse_entries(content, str(file))
    except ValueError as error:
        raise AugeanError(f"{file}: no valid JSON ({error})") from error
    if run_id not in (None, summary.id):
        raise AugeanError(f"{file}: is the summary of run {summary.id}, not of {run_id}")
    return summary


def parse_entries(entries: Mapping[str, Any], place: str) -> RunSummary:
    """Make a summary from the entries of summary.json; entries without a field become its facts.

    Args:
        place: where the entries come from, the beginning of error messages.

    Raises:
        AugeanError: names the first entry that is absent, of a wrong type or out of range.
    """
    values: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for name, value in entries.items():
        try:
            if name not in FIELD_NAMES:
                facts[as_text(name)] = as_plain(value)
            # null is the same as an absent entry: the field keeps its default.
            elif value is not None:
                values[name] = _PARSERS[name](value)
        except WrongValueError as error:
            # The key may be any text, and the message goes to a terminal: `ascii` escapes it, and
            # the slice takes its quotes off.
            reason = f"{ascii(name)[1:-1]}={reprlib.repr(value)}: must be {error}"
            raise AugeanError(f"{place}: {reason}") from error
    for name in ("id", "status", "config"):
        if name not in values:
            raise AugeanError(f"{place}: {name}: is absent; not the summary of a run")
    is_diverged = values["status"] == RunState.DIVERGED
    if is_diverged != ("diverged" in values):
        raise AugeanError(
            f"{place}: diverged: must be there if and only if status is {RunState.DIVERGED}"
        )
    # A custom loop may have seeds of any kind.
    if "loop" not in values:
        _check_seed(values["config"].get("seed"), place)
    return RunSummary(**values, facts=facts)


def _check_seed(seed: Any, place: str) -> None:
    """Check the seed in a config, by which reports count and pair runs."""
    try:
        if seed is not None:
            as_count(seed)
    except WrongValueError as error:
        raise AugeanError(f"{place}: config.seed={reprlib.repr(seed)}: must be {error}") from error


def _status(value: Any) -> RunState:
    # Of all states only these two have a summary.
    if value not in (RunState.FINISHED, RunState.DIVERGED):
        refuse(f"{RunState.FINISHED} or {RunState.DIVERGED}")
    return RunState(value)


def _divergence(value: Any) -> Divergence:
    content = as_mapping(value)
    step = content.get("step")
    last_loss = content.get("last_loss")
    return Divergence(
        epoch=as_count(content.get("epoch")),
        step=None if step is None else as_count(step),
        last_loss=None if last_loss is None else as_number(last_loss),
    )


def _continuation(value: Any) -> Continuation:
    content = as_mapping(value)
    return Continuation(
        run=as_text(content.get("run")),
        epoch=as_count(content.get("epoch")),
        seconds=as_amount(content.get("seconds")),
    )


# One for each field of RunSummary but `facts`. At the end of the file, as it names functions.
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "id": as_text,
    "status": _status,
    "config": as_mapping,
    "schema": as_count,
    "core": as_count,
    "diverged": _divergence,
    "dataset_title": as_text,
    "num_train": as_count,
    "num_val": as_count,
    "num_test": as_count,
    "epochs": as_count,
    "selected_epoch": as_count,
    "val_accuracy": as_fraction,
    "val_loss": as_number,
    "train_accuracy": as_fraction,
    "test_accuracy": as_fraction,
    "test_loss": as_number,
    "seconds": as_amount,
    "train_seconds": as_amount,
    "images_per_second": as_amount,
    "peak_memory_mb": as_amount,
    "parameters": as_count,
    "device": as_text,
    "precision": as_text,
    "threads": as_count,
    "instruction_set": as_text,
    "torch_settings": as_mapping,
    "dead_units": as_fractions,
    "data_digest": as_text,
    "weights_digest": as_text,
    "code_digests": as_texts,
    "places": as_texts,
    "versions": as_texts,
    "git_commit": as_text,
    "host": as_text,
    "started": as_text,
    "finished": as_text,
    "num_resumes": as_count,
    "continued": _continuation,
    "note": as_text,
    "loop": as_text,
    "loop_digest": as_text,
    "files": as_texts,
}
"""The parser of each entry; it raises `WrongValueError` with what the value must be."""
