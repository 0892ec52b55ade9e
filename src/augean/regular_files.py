"""Read files from folders that may come from a stranger: only regular files of a bounded size.

Opening a named pipe waits for ever, a link to /dev/zero fills the memory, and so does a sparse file
of a terabyte. Each is refused by an OSError, as a file that cannot be read is.
"""

import errno
import hashlib
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

CONFIG_BYTES = 2**17
"""Most bytes of a config; those that runs write have about 2,000."""
NOTE_BYTES = 16 * 2**20
"""Most bytes of a summary, a note or a list."""
DATA_BYTES = 256 * 2**20
"""Most bytes of a record, a table of numbers or a measure; more than `augean unpack` takes."""
JOURNAL_BYTES = 4 * 2**30
"""Most bytes of a study's journal."""
WEIGHTS_BYTES = 64 * 2**30
"""Most bytes of weights or of a checkpoint."""
_CHUNK_BYTES = 2**20
"""Most bytes of one read, where the size is not known."""


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: when the file cannot be read, is not a regular file or has more than `max_bytes`.
        ValueError: when the path cannot be one, as it holds a NUL.
    """
    descriptor, size = _open(path, max_bytes)
    try:
        # One more byte than the file has: the read after it finds the end at once.
        content = os.read(descriptor, size + 1)
        if len(content) == size:
            return content
        # The file has grown since, or a network file system returned less than all of it: read on
        # until a read returns nothing.
        chunks = [content]
        size = len(content)
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            _check_size(path, size, max_bytes)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def open_regular(path: Path, max_bytes: int) -> BufferedReader:
    """Open a regular file for reading, see `read_regular`."""
    descriptor, _ = _open(path, max_bytes)
    return open(descriptor, "rb")


def digest_regular(path: Path) -> str:
    """Return the sha256 of a regular file's bytes, in hex; see `read_regular`."""
    with open_regular(path, WEIGHTS_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path, max_bytes: int) -> tuple[int, int]:
    """Return the descriptor of a regular file, and its size."""
    # O_NONBLOCK: opening a named pipe would wait for a process that writes to it. It changes
    # nothing for a regular file. O_NOCTTY: no terminal becomes that of this process.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        _check_size(path, status.st_size, max_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def _check_size(path: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        limit = f"more than {max_bytes / 2**20:,.0f} MiB, too large for such a file"
        raise OSError(errno.EFBIG, limit, str(path))


def parse_json(content: bytes) -> Any:
    """Return what JSON in UTF-8 says.

    Raises:
        ValueError: when it is not JSON, is nested too deep, or has a key twice: readers would
            differ in which of the two values holds.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of a JSON object's pairs; refuse a key that it has twice."""
    values = dict(pairs)
    # The usual case costs one comparison: only a mapping that lost a pair has a key twice.
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated_key = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has the key {repeated_key!a} twice")
    return values
