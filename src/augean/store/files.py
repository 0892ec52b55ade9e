"""Write files atomically; compute the digest of a JSON file's content."""

import csv
import fnmatch
import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.system_errors import READABLE

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
"""Name of a file that `write_atomic` has not given its own name yet."""


def write_atomic(
    path: Path, content: str | bytes, *, sync: bool = True, private: bool = False
) -> None:
    """Replace a file atomically: a reader sees all of the old content or all of the new.

    Args:
        sync: whether to wait until the content is on the disk. False suits files that are written
            every epoch and rebuilt on resume.
        private: whether no other user may read the file, at any moment.

    Raises:
        AugeanError: when the file cannot be written; the old content is still there.
    """
    data = content.encode() if isinstance(content, str) else content
    # A random name, not the process number: processes on several machines, or in containers, that
    # share the folder can have the same number.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with open(temporary, "wb", opener=_open_privately if private else None) as file:
            file.write(data)
            if sync:
                # Before the rename: a power failure could otherwise leave an empty file.
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # What made the writing fail, such as a name that is too long, fails here too.
        with suppress(OSError):
            temporary.unlink()
        raise AugeanError(
            f"cannot write {path}: {error.strerror}; nothing that was there before is lost"
        ) from error


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def list_names(folder: Path) -> list[str]:
    """Return the names in a folder, in no order; none of a missing folder.

    Raises:
        AugeanError: when the folder cannot be read, which `Path.glob` takes for an empty one.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise AugeanError(f"{folder}: cannot be read ({error.strerror}); {READABLE}") from error


def list_folder(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the paths in a folder whose names match a pattern, sorted; see `list_names`."""
    return [folder / name for name in sorted(fnmatch.filter(list_names(folder), pattern))]


def temporary_files(folder: Path) -> list[Path]:
    """Return what `write_atomic` is writing in a folder, or left there when it was killed.

    Other hidden files are the user's, and so are links.
    """
    files = []
    for path in sorted(folder.glob(".*.tmp")):
        if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            files.append(path)
    return files


def json_digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 that a JSON file holds of its own content, under the key `sha256`.

    That key itself is left out, and the order of the keys does not count.
    """
    digested = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(digested, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_csv(path: Path, rows: Iterable[Iterable[Any]], *, sync: bool = True) -> None:
    """Replace a CSV file atomically, see `write_atomic`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomic(path, text.getvalue(), sync=sync)
