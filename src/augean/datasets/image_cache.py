"""Read and write the two files that the cache holds of an image folder: its index and its images.

Either may be missing or damaged at any time, and is then made again.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import cache_error
from augean.regular_files import DATA_BYTES, open_regular, parse_json, read_regular

logger = logging.getLogger(__name__)


_HEADER_BYTES = 2**16
"""Most bytes that the file of the images has beside them."""


@dataclass(frozen=True)
class FolderIndex:
    """What was computed from the content of an image folder's files."""

    digest: str
    """Digest of the data set, see `ImageFolder`."""
    test: tuple[int, ...] = ()
    """Positions of the images that are set aside for the test, where there is no folder `test`."""


def read_index(path: Path, fingerprint: str) -> FolderIndex | None:
    """Return the index that belongs to a fingerprint.

    Args:
        path: of the index.
        fingerprint: of the image files as they are now.

    Returns:
        None when the index is missing or damaged, or the files have changed since it was written.
    """
    try:
        # The index holds one entry, of the state of the files when it was written.
        entry = parse_json(read_regular(path, DATA_BYTES))
        index = FolderIndex(digest=entry["digest"], test=tuple(entry.get("test", ())))
        # Another fingerprint makes another seal, and so does a damaged digest.
        if entry == _index_entry(fingerprint, index):
            return index
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def write_index(path: Path, fingerprint: str, index: FolderIndex) -> None:
    """Write the index; call it with the cache lock held.

    Raises:
        DataError: when the folder cannot be written.
    """
    with _open_atomic(path) as file:
        file.write(json.dumps(_index_entry(fingerprint, index)).encode())


def _index_entry(fingerprint: str, index: FolderIndex) -> dict[str, Any]:
    """Return an index, sealed with the state of the files that it belongs to.

    Without the checksum a flipped bit in the digest would give runs other ids.
    """
    sealed_text = f"{fingerprint} {index.digest}"
    entry: dict[str, Any] = {"digest": index.digest}
    # Only where there are any, so that older entries of other folders stay valid.
    if index.test:
        entry["test"] = list(index.test)
        sealed_text += f" {entry['test']}"
    return {**entry, "seal": hashlib.sha256(sealed_text.encode()).hexdigest()}


def read_images(path: Path, shape: tuple[int, ...], *, warn: bool) -> NDArray[np.uint8] | None:
    """Return the decoded images; None when the file is missing or damaged.

    Args:
        shape: that the images must have, [N, H, W, 3].
        warn: whether to log that the file is damaged.
    """
    if not path.exists():
        return None
    try:
        # An npz file is a zip archive: reading a member to its end checks its CRC-32, at a third of
        # a sha256's time.
        max_bytes = math.prod(shape) + _HEADER_BYTES  # a byte for each value
        with open_regular(path, max_bytes) as file, np.load(file, allow_pickle=False) as archive:
            images: NDArray[np.uint8] = archive["images"]
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"{images.dtype}{list(images.shape)} instead of uint8{list(shape)}")
    except Exception as error:  # it can fail in every way that zipfile and NumPy know
        if warn:
            logger.warning("%s is damaged (%s); decoding the images again", path, error)
        return None
    return images


def write_images(path: Path, images: NDArray[np.uint8]) -> None:
    """Write decoded images. The caller must hold the cache lock.

    Raises:
        DataError: when the folder cannot be written.
    """
    with _open_atomic(path) as file:
        np.savez(file, images=images)


@contextmanager
def _open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete."""
    # The temporary name is always the same, which the cache lock allows: the file that a killed
    # process leaves is overwritten by the next one.
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)  # a large incomplete file may be what fills the disk
        raise cache_error(path.parent, error) from error
