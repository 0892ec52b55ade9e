"""The file of weights that a run begins from, and the digest that stands for it in the address."""

import csv
import hashlib
import io
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from augean.errors import AugeanError, ConfigError, SetupError
from augean.regular_files import digest_regular
from augean.store.find_run import find_run
from augean.store.run_directory import read_verified
from augean.store.run_files import CONFUSION, WEIGHTS
from augean.store.summary import RunState, read_summary

RUN = "run:"
"""`model.weights=run:<id>` stands for the weights of another run."""
DIGITS = 16
"""Length of a digest: the first hex digits of a sha256."""


@dataclass(frozen=True)
class WeightsFile:
    """A state dict on the disk. The file may be gone while its digest is still known."""

    name: str
    """The value of `model.weights`, for messages."""
    path: Path
    content_digest: str
    classes: tuple[str, ...] = ()
    """Names of the classes that its outputs stand for; empty where they are not known."""
    data_digest: str | None = None
    """Of the data set that they were trained on; None where it is not known."""
    has_new_head: bool = False
    """Whether the last layer would fit and is made anew all the same, for classes of other names.

    Names are known of a run's file and not of a copy of it. So this is a part of the address."""
    remark: str = ""
    """What train.log says of the weights beside how they were used."""

    @property
    def digest(self) -> str:
        """The part of the address that stands for the weights."""
        with_head, without_head = self.digests
        return without_head if self.has_new_head else with_head

    @property
    def digests(self) -> tuple[str, str]:
        """Return both digests that addresses have for this content: with its head, and without."""
        # The first is the content's own, as most addresses have it.
        text = f"{self.content_digest} without its last layer"
        return self.content_digest, hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def is_published(name: str) -> bool:
    """Return whether `model.weights` is a name such as DEFAULT or IMAGENET1K_V1."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*", name) is not None


def weights_of_run(name: str, outputs: Path) -> WeightsFile:
    """Return the selected weights of a finished run.

    Args:
        name: `run:` and what `find_run` takes, such as the beginning of an id.

    Raises:
        ConfigError: when there is no such run, it is damaged, or it has no weights.
    """
    key = f"model.weights={name}"
    try:
        path = find_run(name.removeprefix(RUN), outputs)
        summary = read_summary(path)
        classes = read_class_names(path)
    except AugeanError as error:
        raise ConfigError(f"{key}: {error}") from error
    if summary is not None and summary.status == RunState.DIVERGED:
        raise ConfigError(f"{key}: {path} diverged, so it has no weights; name another run")
    if summary is None or summary.status != RunState.FINISHED:
        raise ConfigError(f"{key}: {path} is not a finished run; train it first")
    if WEIGHTS not in summary.files:
        raise ConfigError(f"{key}: {path} has no weights; name a run that has a best.pt")
    return WeightsFile(
        name=name,
        path=path / WEIGHTS,
        content_digest=summary.files[WEIGHTS][:DIGITS],
        classes=classes,
        data_digest=summary.data_digest,
    )


def weights_of_path(name: str, path: Path) -> WeightsFile:
    """Return the weights in a file of the user's; a run's own as `weights_of_run` does.

    Raises:
        ConfigError: when there is no such file, it cannot be read, or it is of a damaged run.
    """
    weights = weights_of_file(name, path)
    if path.name != WEIGHTS:
        return weights
    try:
        classes = read_class_names(path.parent)
        summary = read_summary(path.parent)
    except AugeanError as error:
        raise ConfigError(f"model.weights={name}: {error}") from error
    data_digest = None if summary is None else summary.data_digest
    return replace(weights, classes=classes, data_digest=data_digest)


def weights_of_file(name: str, path: Path, classes: tuple[str, ...] = ()) -> WeightsFile:
    """Return a file of weights.

    Raises:
        ConfigError: when there is no such file, or it cannot be read.
    """
    try:
        if not path.is_file():
            raise ConfigError(
                f"model.weights={name}: there is no file {path}; give its path, run:<id> for"
                " another run's weights, or DEFAULT for those of torchvision"
            )
        status = path.stat()
        digest = _digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"model.weights={name}: cannot read {path} ({error.strerror})") from error
    return WeightsFile(name=name, path=path, content_digest=digest, classes=classes)


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _mtime: int) -> str:
    """Return the digest of a file, which is read once as long as size and time stay."""
    return digest_regular(path)[:DIGITS]


def check_content(weights: WeightsFile) -> None:
    """Make sure that the file is there and is the one of the address.

    Raises:
        SetupError: when it is missing, was altered or cannot be read.
    """
    try:
        digest = digest_regular(weights.path)[:DIGITS]
    except OSError as error:
        raise SetupError(
            f"model.weights={weights.name}: cannot read {weights.path} ({error.strerror}); bring"
            " the file back, or name other weights"
        ) from error
    if digest != weights.content_digest:
        raise SetupError(
            f"model.weights={weights.name}: {weights.path} is not the file of the run's address;"
            " it was altered or damaged"
        )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of a run's classes from the first line of its confusion.csv.

    Returns:
        An empty tuple where there is no such file, as a custom loop need not write it.

    Raises:
        AugeanError: when the file cannot be read or was altered after the run.
    """
    try:
        text = read_verified(path, CONFUSION).decode(errors="replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AugeanError(
            f"{path / CONFUSION}: cannot be read ({error.strerror}); bring the file from where the"
            " run was trained, or train it once more into another runtime.outputs"
        ) from error
    # Not `splitlines`, which would split a name at letters such as U+2028.
    header: list[str] = next(csv.reader(io.StringIO(text, newline="")), [])
    return tuple(header[1:])  # the first column holds the true class
