"""Read and write the two files that the cache holds of an image folder: its index and its images.

Either may be missing or damaged at any time, and is then made again.
"""

import hashlib
import json
import logging
import math
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from os import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO, Literal
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import ImageArray, cache_error
from augean.datasets.image_copies import Copies
from augean.regular_files import DATA_BYTES, open_regular, parse_json, read_regular

logger = logging.getLogger(__name__)

Place = Literal["part", "class"]
"""What holds an image: `train` or `test`, and the folder of its class."""
MEMBER = "images.npy"
"""Name of the images in the npz file."""
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""What precedes the name of a member in a zip archive. Its last four bytes are two lengths: of the
name, and of further fields."""
HEADERS_BYTES = 2**16
"""Most bytes of the file beside the pixels: headers of the zip archive and of NumPy's format."""
READ_BYTES = 2**20
"""Bytes that are read at a time while the checksum is checked."""


@dataclass(frozen=True)
class FolderIndex:
    """What was computed from the content of an image folder's files."""

    digest: str
    """Digest of the data set, see `ImageFolder`."""
    test: tuple[int, ...] = ()
    """Positions of the images that are set aside for the test, where there is no folder `test`."""
    copies: dict[Place, Copies] = field(default_factory=dict)
    """Images that are in two places, by the kind of place; none where there are no such images."""


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
        copies = {}
        for place, (number, example) in entry.get("copies", {}).items():
            copies[place] = Copies(number=number, example=tuple(example))
        test = tuple(entry.get("test", ()))
        index = FolderIndex(digest=entry["digest"], test=test, copies=copies)
        # Another fingerprint makes another seal, and so does a damaged digest.
        if entry == _index_entry(fingerprint, index):
            return index
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
    """Return the content of the index file: the index, and a seal.

    The seal is a checksum of the index and the fingerprint. Without it a flipped bit in the digest
    would give runs other ids.
    """
    sealed_text = f"{fingerprint} {index.digest}"
    entry: dict[str, Any] = {"digest": index.digest}
    # Only where there are any, so that older entries of other folders stay valid.
    if index.test:
        entry["test"] = list(index.test)
        sealed_text += f" {entry['test']}"
    if index.copies:
        entry["copies"] = {}
        for place, copies in index.copies.items():
            entry["copies"][place] = [copies.number, list(copies.example)]
        # Sealed as JSON, which is ASCII: the names of files need not be valid UTF-8.
        sealed_text += f" {json.dumps(entry['copies'])}"
    return {**entry, "seal": hashlib.sha256(sealed_text.encode()).hexdigest()}


def map_images(path: Path, shape: tuple[int, ...], *, warn: bool) -> ImageArray | None:
    """Map the decoded images into memory; None when the file is missing or damaged.

    All processes of a machine share what the system has read of the file.

    Args:
        shape: that the images must have, [N, H, W, 3].
        warn: whether to log that the file is damaged.
    """
    if not path.exists():
        return None
    count = math.prod(shape)
    try:
        # Mapping it fills no memory, so it may have any size, as long as it is that of the images.
        with open_regular(path, count + HEADERS_BYTES) as file:
            offset = _check_member(file, shape)
            mapping = mmap(file.fileno(), 0, access=ACCESS_READ)
    except Exception as error:  # zipfile and NumPy raise many kinds for damaged content
        if warn:
            logger.warning("%s is damaged (%s); decoding the images again", path, error)
        return None
    images = np.frombuffer(mapping, dtype=np.uint8, count=count, offset=offset).reshape(shape)
    return ImageArray(images, np.arange(shape[0]), mapping)


def _check_member(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Check the images in an npz file, which is a zip archive without compression.

    Returns:
        Where their first byte is in the file.

    Raises:
        ValueError: when they have another type or shape; zipfile's errors for a damaged file.
    """
    with ZipFile(file) as archive:
        info = archive.getinfo(MEMBER)
        if info.compress_type != ZIP_STORED:
            raise ValueError("compressed")
        # Reading to the end checks the CRC-32, at a third of a sha256's time.
        with archive.open(info) as member:
            while member.read(READ_BYTES):
                pass
    # The member's bytes come after its local header, a name and further fields. The lengths of
    # these two are read from that header, since the archive's directory may have others.
    file.seek(info.header_offset)
    *_, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    file.seek(name_length + extra_length, SEEK_CUR)
    npy_version = np.lib.format.read_magic(file)
    if npy_version != (1, 0):
        raise ValueError(f"NumPy's format {npy_version}")
    actual_shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != np.uint8 or actual_shape != shape or fortran_order:
        raise ValueError(f"{dtype}{list(actual_shape)} instead of uint8{list(shape)}")
    return file.tell()


def write_images(path: Path, shape: tuple[int, ...], chunks: Iterable[NDArray[np.uint8]]) -> None:
    """Write decoded images as they come. The caller must hold the cache lock.

    Args:
        shape: of all images, [N, H, W, 3].
        chunks: arrays [B, H, W, 3], in the order of the images.

    Raises:
        DataError: when the folder cannot be written.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (
        _open_atomic(path) as file,
        ZipFile(file, "w", ZIP_STORED) as archive,
        archive.open(MEMBER, "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for chunk in chunks:
            member.write(np.ascontiguousarray(chunk).data)


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
    except BaseException:
        part.unlink(missing_ok=True)
        raise
