"""Write files atomically and compute their digests."""

import csv
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from augean.errors import AugeanError


def write_atomic(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Replace a file atomically.

    Args:
        sync: wait until the content is on the disk. Off for files that are written every epoch and
            rebuilt on resume.
    """
    data = content.encode() if isinstance(content, str) else content
    # No process number: processes of several machines, or containers, that share the folder may
    # have the same.
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
        raise AugeanError(
            f"cannot write {path}: {error.strerror}; nothing that was there before is lost"
        ) from error


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a JSON file's content, to be kept in it under that name."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_csv(path: Path, rows: Iterable[Iterable[Any]], *, sync: bool = True) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomic(path, text.getvalue(), sync=sync)
