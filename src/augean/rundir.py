"""One run's directory: its files, who may write them, and what state they prove.

`summary.json` is written last and atomically, so it exists if and only if the run is finished or diverged. All files
are replaced whole; a process that dies leaves the old version or the new one, never a torn one.
"""

import csv
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augean.errors import AugeanError, RunLocked

METRICS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "images_per_second")
"""Columns of metrics.csv: accuracies are fractions, seconds and rate are of training only."""
CHECKPOINT, PREVIOUS, CHECKSUMS = "checkpoint.pt", "checkpoint.prev.pt", "checkpoint.pt.sha256"
DIGESTED = ("config.yaml", "metrics.csv", "model.json", "confusion.csv", "steps.npy", "probe.csv", "best.pt")
"""Files whose sha256 the summary holds."""


def write(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Replace a file atomically.

    Args:
        sync: wait until the content is on the disk. Off for files that are written every epoch and rebuilt on resume.
    """
    data = content.encode() if isinstance(content, str) else content
    # No process number: processes of several machines, or containers, that share the folder may have the same.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AugeanError(f"cannot write {path}: {error.strerror}; nothing that was there before is lost") from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def runs_dir(outputs: Path) -> Path:
    return outputs / "runs"


def folder_id(outputs: Path) -> str:
    """A random name that an output folder carries, so that two folders are told apart wherever they are mounted."""
    file = outputs / ".id"
    with lock(outputs, "id", wait=True):
        if not file.exists():
            write(file, uuid.uuid4().hex[:10])
        return file.read_text()


def _lock_file(outputs: Path, identity: str) -> Path:
    return outputs / "locks" / f"{identity}.lock"


@contextmanager
def lock(outputs: Path, identity: str, *, wait: bool) -> Iterator[None]:
    """Hold the run's lock; the operating system frees it when its holder dies.

    Raises:
        RunLocked: when another live process holds it and `wait` is false.
        AugeanError: when the folder cannot be written or its file system has no locks.
    """
    path = _lock_file(outputs, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fall-back to a marker file: that would outlive a killed holder and block the run for ever.
        held = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
        held.acquire(poll_interval=0.2)
    except Timeout as error:
        raise RunLocked(f"run {identity} is being trained by another process") from error
    except (OSError, NotImplementedError) as error:
        raise AugeanError(
            f"cannot lock {path}: {error}; runtime.outputs={outputs} must be writable and on a file system with locks"
        ) from error
    try:
        yield
    finally:
        held.release()


def is_locked(outputs: Path, identity: str) -> bool:
    """Whether a live process holds the run's lock."""
    path = _lock_file(outputs, identity)
    if not path.exists():
        return False
    probe = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        probe.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    probe.release()
    return False


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json with the digests of the run's other files and, last, of the summary itself."""
    files = {name: sha256(path / name) for name in DIGESTED if (path / name).exists()}
    content = {**summary, "files": files}
    content["sha256"] = own_digest(content)
    write(path / "summary.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def own_digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a JSON file's content, to be kept in it under that name."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_summary(path: Path, identity: str | None = None) -> dict[str, Any] | None:
    """The summary of a finished or diverged run; None while there is none.

    Args:
        identity: the run that it must be of, as a directory may have been copied over another's.

    Raises:
        AugeanError: when the file cannot be read, is no summary, is another run's, or was altered after it was written.
    """
    file = path / "summary.json"
    try:
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # the second for bytes that are no text, and for a path that is none
        raise AugeanError(f"{file}: cannot be read ({error})") from error
    try:
        summary = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AugeanError(f"{file}: no valid JSON ({error})") from error
    if not isinstance(summary, dict) or not isinstance(summary.get("config"), dict):
        raise AugeanError(f"{file}: not the summary of a run")
    if summary.get("sha256") != own_digest(summary):
        raise AugeanError(f"{file}: was altered or damaged after it was written")
    known = summary.get("status") in ("finished", "diverged") and isinstance(summary.get("id"), str)
    mappings = (summary.get("files"), summary.get("diverged") or {}, summary.get("versions") or {})
    if not known or not all(isinstance(item, dict) for item in mappings):
        raise AugeanError(f"{file}: not the summary of a run: id, status or files are absent or unknown")
    if identity not in (None, summary["id"]):
        raise AugeanError(f"{file}: is the summary of run {summary['id']}, not of {identity}")
    return summary


def read_checked(path: Path, name: str) -> bytes:
    """The content of one of a run's files, as the run wrote it.

    Raises:
        OSError: when there is no such file, or it cannot be read.
        AugeanError: when its digest is not the one that the summary has, or there is no sound summary.
    """
    content = (path / name).read_bytes()
    summary = read_summary(path)
    if summary is not None and hashlib.sha256(content).hexdigest() != summary["files"].get(name):
        raise AugeanError(
            f"{path / name}: was truncated or altered after the run; without {path / 'summary.json'} it is made again"
        )
    return content


def state(outputs: Path, path: Path, identity: str) -> str:
    """finished, diverged, running, interrupted, failed or missing; a damaged summary reads as interrupted or failed."""
    try:
        summary = read_summary(path, identity)
    except AugeanError:
        summary = None
    if summary is not None:
        return str(summary["status"])
    if is_locked(outputs, identity):
        return "running"
    if (path / "failure.txt").exists():
        return "failed"
    return "interrupted" if path.is_dir() else "missing"


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.csv whole; None and missing values become empty cells, floats keep all digits."""
    write_csv(path / "metrics.csv", [METRICS, *([row[name] for name in METRICS] for row in rows)], sync=False)


def write_csv(path: Path, rows: Iterable[Iterable[Any]], *, sync: bool = True) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write(path, text.getvalue(), sync=sync)


def save_checkpoint(path: Path, content: bytes) -> None:
    """Make `content` the checkpoint and keep the one before it.

    A file is good if its digest is listed in the checksum file; that file is replaced first and lists both, so every
    moment of death leaves at least one good checkpoint. One that was damaged meanwhile is not kept, but replaced.
    """
    current, previous, listed = path / CHECKPOINT, path / PREVIOUS, _listed_digests(path)
    new = path / ".checkpoint.new.pt"
    write(new, content)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {CHECKPOINT}\n"]
    kept = next((file for file in (current, previous) if _is_listed(file, listed)), None)
    if kept is not None:
        lines.append(f"{sha256(kept)}  {PREVIOUS}\n")
    write(path / CHECKSUMS, "".join(lines))
    if kept == current:
        current.replace(previous)
    new.replace(current)


def _listed_digests(path: Path) -> set[str]:
    """Digests of the good checkpoints."""
    try:
        return {line.split()[0] for line in (path / CHECKSUMS).read_text().splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError):
        return set()


def _is_listed(file: Path, listed: set[str]) -> bool:
    try:
        return sha256(file) in listed
    except OSError:  # a bad sector is damage too
        return False


def load_checkpoint(path: Path) -> tuple[bytes | None, str]:
    """The newest undamaged checkpoint, or None, and a remark where a damaged one was passed over."""
    remarks, listed = list[str](), _listed_digests(path)
    for name in (CHECKPOINT, PREVIOUS):
        try:
            content = (path / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() in listed:
            return content, "; ".join(remarks)
        remarks.append(f"{name} is damaged and was passed over")
    return None, "; ".join(remarks)


def foreign_checkpoint(path: Path, error: Exception) -> AugeanError:
    """What to say of a checkpoint that cannot be gone on from: a digest that fits proves no origin."""
    reason = (str(error).splitlines() or [""])[0]
    return AugeanError(
        f"{path}: its checkpoint is none of this run ({type(error).__name__}: {reason}); "
        f"without {CHECKPOINT} and {PREVIOUS} the run starts anew"
    )


def clear_leftovers(path: Path) -> None:
    """Remove what an earlier try left: its failure note, and temporary files of a process that died while writing."""
    for leftover in [path / "failure.txt", *path.glob(".*.tmp")]:
        leftover.unlink(missing_ok=True)


def remove_checkpoints(path: Path) -> None:
    for name in (CHECKPOINT, PREVIOUS, CHECKSUMS, ".checkpoint.new.pt"):
        (path / name).unlink(missing_ok=True)
