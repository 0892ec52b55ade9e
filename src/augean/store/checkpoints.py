"""Save and load the checkpoints of an interrupted run.

From the first save on, a process that dies at any moment leaves at least one good checkpoint.
"""

import hashlib
import os
from pathlib import Path
from pickle import UnpicklingError

from augean.errors import AugeanError
from augean.regular_files import NOTE_BYTES, WEIGHTS_BYTES, digest_regular, read_regular
from augean.store.files import write_atomic

CHECKPOINT = "checkpoint.pt"
"""The newest checkpoint."""
PREVIOUS = "checkpoint.prev.pt"
"""The checkpoint before it, for when the newest one is damaged."""
CHECKSUMS = "checkpoint.pt.sha256"
"""The sha256 of both, in the format of `sha256sum`. A file is good if its digest is listed here,
under whichever name."""
NEW_CHECKPOINT = ".checkpoint.new.pt"
"""A checkpoint that is written, but does not have its name yet."""
CHECKPOINT_FILES = (CHECKPOINT, PREVIOUS, CHECKSUMS, NEW_CHECKPOINT)


def save_checkpoint(path: Path, content: bytes) -> None:
    """Make `content` the checkpoint of the run at `path` and keep the one before it.

    A checkpoint that has been damaged since it was written is not kept but replaced.
    """
    current = path / CHECKPOINT
    previous = path / PREVIOUS
    new = path / NEW_CHECKPOINT
    listed_digests = _listed_digests(path)
    # 1. Write the new checkpoint beside the others.
    write_atomic(new, content)
    # 2. Find the one before it: the newest that is undamaged.
    last_good = None
    for file in (current, previous):
        if _is_listed(file, listed_digests):
            last_good = file
            break
    # 3. List both.
    lines = [f"{hashlib.sha256(content).hexdigest()}  {CHECKPOINT}\n"]
    if last_good is not None:
        lines.append(f"{digest_regular(last_good)}  {PREVIOUS}\n")
    # The list is replaced before the files are renamed. It holds both digests: wherever between
    # these steps the process dies, the last good file is still listed.
    write_atomic(path / CHECKSUMS, "".join(lines))
    # 4. Give both their names. A damaged current checkpoint is overwritten by the new one.
    if last_good == current:
        current.replace(previous)
    new.replace(current)


def _listed_digests(path: Path) -> set[str]:
    """Return the digests of the good checkpoints; none where the list cannot be read."""
    try:
        lines = read_regular(path / CHECKSUMS, NOTE_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    # A line is `<digest>  <name>`.
    return {line.split()[0] for line in lines if line.strip()}


def _is_listed(file: Path, listed_digests: set[str]) -> bool:
    try:
        return digest_regular(file) in listed_digests
    except OSError:  # missing, or on a bad sector, which is damage too
        return False


def _read_listed(file: Path, listed_digests: set[str]) -> bytes | None:
    """Return the content of a good checkpoint; None for a file that is not one."""
    # The digest comes first, as a file that no save has written may be too large for the memory.
    if not _is_listed(file, listed_digests):
        return None
    try:
        return read_regular(file, WEIGHTS_BYTES)
    except OSError:  # on a bad sector
        return None


def load_checkpoint(path: Path) -> tuple[bytes | None, str]:
    """Return the newest good checkpoint of the run at `path`, and a remark on damaged ones.

    Returns:
        The checkpoint's content, None where there is no good one; and which damaged files were
        passed over, empty where there were none.
    """
    listed_digests = _listed_digests(path)
    remarks: list[str] = []
    for name in (CHECKPOINT, PREVIOUS):
        file = path / name
        # A broken link is there, and damaged; `exists` would follow it and see nothing.
        if not os.path.lexists(file):
            continue
        content = _read_listed(file, listed_digests)
        if content is not None:
            return content, "; ".join(remarks)
        remarks.append(f"{name} is damaged and was passed over")
    return None, "; ".join(remarks)


def foreign_checkpoint_error(path: Path, error: Exception) -> AugeanError:
    """Return the error for a checkpoint from which the run at `path` cannot be resumed.

    Such a checkpoint can have a listed digest: the digest shows that the file is undamaged, not
    that this run wrote it.

    Args:
        error: what was raised when the checkpoint was loaded.
    """
    lines = str(error).splitlines() or [""]
    # torch raises it for content that it will not load, which may well be of this run.
    if isinstance(error, UnpicklingError):
        fault = "cannot be loaded"
    else:
        fault = "does not belong to this run"
    return AugeanError(
        f"{path}: its checkpoint {fault} ({type(error).__name__}: {lines[0]});"
        f" to start the run anew, move {CHECKPOINT} and {PREVIOUS} to another folder"
    )


def remove_checkpoints(path: Path) -> None:
    """Remove the checkpoints of the run at `path`, with what a killed process left of one."""
    for name in CHECKPOINT_FILES:
        (path / name).unlink(missing_ok=True)
