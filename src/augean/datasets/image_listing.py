"""List the image files of a folder, those with suffixes that are not read included."""

import os
from dataclasses import dataclass, field
from errno import EINVAL, ELOOP
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augean.datasets.image_decoding import IMAGE_SUFFIXES

OTHER_SUFFIXES = (
    ".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".pbm", ".pnm",
    ".pfm", ".tga", ".ico", ".psd", ".svg", ".dng", ".cr2", ".nef", ".exr", ".hdr",
)  # fmt: skip
"""Suffixes of images that are not read, in lower or upper case."""
MAX_LEVELS = 20
"""Most levels of folders below the one that is listed; what is deeper is most likely a link to
itself."""


@dataclass(frozen=True, kw_only=True)
class FolderListing:
    """The image files of a folder, without their content."""

    classes: tuple[str, ...]
    paths: list[str]
    """Such as train/cat/1.png; sorted by split (training first), class and name."""
    labels: NDArray[np.int64]
    """[N], the label of each path."""
    num_before_test: int
    """Images before those of the folder `test`."""
    has_test: bool
    """Whether there is a folder `test`."""
    others: list[str]
    """Paths, like `paths`, of the files in the folders of the classes that are not images."""
    num_bytes: int
    """Size of all images together."""
    fingerprint: str
    """sha256 of the paths, sizes, mtimes and ctimes: another one means that files may have changed.
    The ctime is needed because unpacking an archive restores the others."""


class FileStamp(NamedTuple):
    """What changes with a file's content. The order of the fields enters the fingerprint."""

    size: int
    """Bytes."""
    mtime: int
    """Nanoseconds, like `ctime`."""
    ctime: int


@dataclass
class ImageFiles:
    """The image files in a folder and below it."""

    names: list[str] = field(default_factory=list)
    """Relative to the folder; sorted, those of the folder itself first."""
    stamps: list[FileStamp] = field(default_factory=list)
    """One for each name."""
    unread: list[str] = field(default_factory=list)
    """Names of images with a suffix that is not read."""
    others: list[str] = field(default_factory=list)
    """Names of files that are not images, going by their suffix."""
    subfolders: list[str] = field(default_factory=list)
    """Names of the folders directly in this one; sorted."""


def is_image(name: str) -> bool:
    """Return whether a file's name is that of an image, be it read or not."""
    return name.lower().endswith((*IMAGE_SUFFIXES, *OTHER_SUFFIXES))


def list_images(folder: Path) -> ImageFiles:
    """List the images in a folder and below it; hidden files and folders are ignored.

    Raises:
        OSError: with the whole path, when a file cannot be read or is not a regular file.
    """
    files = ImageFiles()
    _add_images(files, folder, "")
    return files


def _add_images(files: ImageFiles, folder: Path, prefix: str) -> None:
    """Add the images of one folder, then those of the folders in it.

    Args:
        prefix: of the names, for a folder below the one that is listed.
    """
    # A link to a folder that contains it would be followed for ever.
    if prefix.count("/") > MAX_LEVELS:
        reason = "too many folders in one another; is there a link to itself?"
        raise OSError(ELOOP, reason, str(folder))
    subfolders = []
    for name in sorted(os.listdir(folder)):
        if name.startswith("."):
            continue
        path = f"{folder}/{name}"
        # Names with the suffix of an image are taken for files, which `stat` then confirms: to ask
        # `isdir` first would double the calls to the system.
        if not name.lower().endswith(IMAGE_SUFFIXES):
            if os.path.isdir(path):
                subfolders.append(name)
            elif is_image(name):
                files.unread.append(f"{prefix}{name}")
            else:
                files.others.append(f"{prefix}{name}")
            continue
        stat = os.stat(path)
        if not S_ISREG(stat.st_mode):  # a pipe or a device would be read for ever
            raise OSError(EINVAL, "is not a file", path)
        files.names.append(f"{prefix}{name}")
        files.stamps.append(
            FileStamp(size=stat.st_size, mtime=stat.st_mtime_ns, ctime=stat.st_ctime_ns)
        )
    if not prefix:
        files.subfolders = subfolders
    for name in subfolders:
        _add_images(files, folder / name, f"{prefix}{name}/")


def count_images(folder: Path) -> int:
    """Count the images below a folder, whether they are read or not, outside hidden folders."""
    count = 0
    for _, folders, names in os.walk(folder):
        # Changed in place, as `os.walk` goes on into the folders that are left in the list.
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(is_image(name) and not name.startswith(".") for name in names)
    return count
