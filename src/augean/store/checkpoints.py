"""Save and load the checkpoints of an interrupted run, so that every moment of death leaves a good
one.
"""

import hashlib
from pathlib import Path

from augean.errors import AugeanError
from augean.store.files import file_sha256, write_atomic

CHECKPOINT, PREVIOUS, CHECKSUMS = "checkpoint.pt", "checkpoint.prev.pt", "checkpoint.pt.sha256"


def save_checkpoint(path: Path, content: bytes) -> None:
    """Make `content` the checkpoint and keep the one before it.

    A file is good if its digest is listed in the checksum file; that file is replaced first and
    lists both, so every moment of death leaves at least one good checkpoint. One that was damaged
    meanwhile is not kept, but replaced.
    """
    current, previous, listed = path / CHECKPOINT, path / PREVIOUS, _listed_digests(path)
    new = path / ".checkpoint.new.pt"
    write_atomic(new, content)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {CHECKPOINT}\n"]
    kept = next((file for file in (current, previous) if _is_listed(file, listed)), None)
    if kept is not None:
        lines.append(f"{file_sha256(kept)}  {PREVIOUS}\n")
    write_atomic(path / CHECKSUMS, "".join(lines))
    if kept == current:
        current.replace(previous)
    new.replace(current)


def _listed_digests(path: Path) -> set[str]:
    """Digests of the good checkpoints."""
    try:
        return {
            line.split()[0] for line in (path / CHECKSUMS).read_text().splitlines() if line.strip()
        }
    except (OSError, UnicodeDecodeError):
        return set()


def _is_listed(file: Path, listed: set[str]) -> bool:
    try:
        return file_sha256(file) in listed
    except OSError:  # a bad sector is damage too
        return False


def load_checkpoint(path: Path) -> tuple[bytes | None, str]:
    """The newest undamaged checkpoint, or None, and a remark where a damaged one was passed
    over.
    """
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


def foreign_checkpoint_error(path: Path, error: Exception) -> AugeanError:
    """What to say of a checkpoint that cannot be gone on from: a digest that fits proves no
    origin.
    """
    reason = (str(error).splitlines() or [""])[0]
    return AugeanError(
        f"{path}: its checkpoint is none of this run ({type(error).__name__}: {reason}); "
        f"without {CHECKPOINT} and {PREVIOUS} the run starts anew"
    )


def remove_checkpoints(path: Path) -> None:
    for name in (CHECKPOINT, PREVIOUS, CHECKSUMS, ".checkpoint.new.pt"):
        (path / name).unlink(missing_ok=True)
