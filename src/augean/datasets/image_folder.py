"""A data set of image files, in one folder per class; they are decoded once and cached."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EINVAL, ELOOP
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import ImageRows, Images, Rows, Source
from augean.datasets.image_cache import (
    FolderIndex,
    map_images,
    read_index,
    write_images,
    write_index,
)
from augean.datasets.image_decoding import (
    DECODER,
    IMAGE_SUFFIXES,
    Geometry,
    decode_in_chunks,
    show_progress,
)
from augean.errors import DataError

logger = logging.getLogger(__name__)

POOL_BYTES = 4_000_000
"""Size of all image files above which several processes decode them. With less, starting the
processes takes longer than they save."""

MOST_LEVELS = 20
"""Folders in one another below that of a class."""
TEST_SHARE = 0.2
"""Share of the images that is set aside for the test where there is no folder `test`."""


@dataclass(frozen=True)
class _Content:
    """What is known of an image folder once its files have been read."""

    digest: str
    num_train: int


process_contents: dict[tuple[Path, Path], _Content] = {}
"""The content of each image folder that this process has used, by image folder and cache folder.

All runs of a process have their addresses by the same digest, even if files change meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The image files of a folder, without their content."""

    classes: tuple[str, ...]
    paths: list[str]
    """Such as train/cat/1.png; sorted by split (training first), class and name."""
    labels: NDArray[np.int64]
    """[N], the label of each path."""
    num_train: int
    """Images before those of the folder `test`."""
    has_test: bool
    """Whether there is a folder `test`."""
    num_bytes: int
    """Size of all files together."""
    fingerprint: str
    """sha256 of the paths, sizes, mtimes and ctimes: another one means that files may have changed.
    The ctime is needed because unpacking an archive restores the others."""


class ImageFolder(Source):
    """Images in `<root>/<name>/{train,test}/<class>/<image>`, or in folders below that of a class.

    Without the folder `test`, a fifth of the images of `train` is set aside for the test: those
    whose content has a small hash, so that added files never move others and copies of one image
    never lie on both sides. The classes may then lie directly in `<root>/<name>`, too.

    Each of `train` and `test` has the layout of torchvision's ImageFolder. Images become RGB; those
    that are not squares of `image_size` are resized by their shorter side (antialiased) and cropped
    at the centre, which equals torchvision's Resize and CenterCrop. Transparency is dropped;
    orientation tags are ignored. Hidden files and files with other suffixes are ignored.

    The digest is of the files' paths below the folder and of their bytes. An index in the cache
    folder makes it unnecessary to read the files again while none changes. Decoded images are kept
    in the cache too, by digest and geometry.

    Args:
        resize: length in pixels of the shorter side before the crop; None: `image_size`.
        interpolation: bilinear or bicubic.

    Raises:
        ConfigError: for another interpolation, or a `resize` below `image_size`.
    """

    def __init__(
        self,
        *,
        name: str,
        root: Path,
        cache: Path,
        image_size: int,
        resize: int | None = None,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        self.folder = self.root / name
        self.geometry = Geometry(image_size, resize, interpolation)

    def _identity(self) -> tuple[object, ...]:
        return *super()._identity(), self.geometry

    def digest(self) -> str:
        return self._content().digest

    def count_train_images(self) -> int:
        return self._content().num_train

    def _content(self) -> _Content:
        key = (self.folder, self.cache)
        if key not in process_contents:
            listing = self._scan()
            process_contents[key] = _content_of(listing, self._index(listing))
            if not listing.has_test:
                num_train = process_contents[key].num_train
                logger.info(
                    f"{self.folder}: no folder test, so a fifth of the images is set aside for it:"
                    f" {num_train:,} for training and validation,"
                    f" {len(listing.paths) - num_train:,} for the test"
                )
        return process_contents[key]

    def load(self) -> Images:
        return self.load_rows().in_memory()

    def load_rows(self) -> ImageRows:
        listing = self._scan()
        index = self._index(listing)
        content = _content_of(listing, index)
        # Runs of this process may already have their addresses by an earlier digest.
        if process_contents.setdefault((self.folder, self.cache), content) != content:
            raise DataError(
                f"{self.folder}: images have changed since this command started; start it again"
            )
        images = self._read_or_decode(listing, index.digest)
        train, test = _splits(listing, index)
        return ImageRows(
            train_images=images.select(train),
            train_labels=listing.labels[train],
            test_images=images.select(test),
            test_labels=listing.labels[test],
            classes=listing.classes,
        )

    def _layout_error(self, problem: str) -> DataError:
        """Return the error for a folder without the layout of an `ImageFolder`."""
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected"
            f" {self.folder}/{{train,test}}/<class>/<image>, or without test, or"
            f" {self.folder}/<class>/<image>; the same classes in both and images of"
            f" {', '.join(IMAGE_SUFFIXES)}; put them there, or set runtime.data=<the folder that"
            f" contains {self.name}>"
        )

    def _scan(self) -> _Listing:
        """List all images and read their sizes and times.

        Takes about 0.2 s for 60,000 images: the cost of a digest that the index already has.

        Raises:
            DataError: when the folder does not have the layout, or cannot be read.
        """
        parts = self._parts()
        classes = self._class_names(parts[0])
        for part in parts[1:]:
            # Classes that only one of train and test has.
            unmatched = set(classes) ^ set(self._class_names(part))
            if unmatched:
                raise self._layout_error(
                    f"train and test do not both have the classes {', '.join(sorted(unmatched))}"
                )
        if not classes:
            raise self._layout_error(f"there is no class folder in {self.folder / parts[0]}")
        fingerprint = hashlib.sha256()
        paths: list[str] = []
        labels: list[NDArray[np.int64]] = []
        num_bytes = 0
        num_train = 0
        for part in parts:
            for label, name in enumerate(classes):
                files, numbers = self._stat_class(self.folder / part / name)
                fingerprint.update(repr((part, name, files)).encode())
                fingerprint.update(np.array(numbers, dtype=np.int64).tobytes())
                folder = f"{part}/{name}" if part else name
                paths += [f"{folder}/{file}" for file in files]
                labels.append(np.full(len(files), label, dtype=np.int64))
                # Size, mtime and ctime of each file, one after the other: every third is a size.
                sizes = numbers[::3]
                num_bytes += sum(sizes)
            if part != "test":
                num_train = len(paths)
        return _Listing(
            classes=classes,
            paths=paths,
            labels=np.concatenate(labels),
            num_train=num_train,
            has_test="test" in parts,
            num_bytes=num_bytes,
            fingerprint=fingerprint.hexdigest(),
        )

    def _parts(self) -> list[str]:
        """Return the folders that hold the classes: `train` and `test`, `train`, or the data set's
        own, as an empty text.
        """
        parts = [part for part in ("train", "test") if (self.folder / part).is_dir()]
        if parts == ["test"] or not self.folder.is_dir():
            return ["train", "test"]  # which is then said to be missing
        return parts or [""]

    def _class_names(self, part: str) -> tuple[str, ...]:
        """Return the names of the class folders in a folder of `_parts`, sorted."""
        folder = self.folder / part
        names = []
        strays = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        names.append(entry.name)
                    elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                        strays.append(entry.name)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        if strays:
            raise self._layout_error(
                f"{len(strays)} images lie in {folder} and in no folder of a class, such as"
                f" {min(strays)}"
            )
        for name in names:
            # A name that is not UTF-8 could not be written into summaries and tables.
            if os.fsencode(name).decode(errors="replace") != name:
                raise self._layout_error(f"the name of a class is no text: {name!r} in {folder}")
        return tuple(sorted(names))

    def _stat_class(self, folder: Path) -> tuple[list[str], list[int]]:
        """Return names and numbers of the images of a class, see `_stat_images`.

        Raises:
            DataError: when the folder has no image or cannot be read.
        """
        try:
            files, numbers = _stat_images(folder)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        if not files:
            raise self._layout_error(f"there is no image in {folder}")
        return files, numbers

    def _unreadable(self, folder: Path, error: OSError) -> DataError:
        return self._layout_error(f"cannot read {folder / str(error.filename)} ({error.strerror})")

    def _index(self, listing: _Listing) -> FolderIndex:
        """Return the index of the files as they are, from the cache or made by reading them."""
        path = self.cache / f"{self.name}.index.json"
        index = read_index(path, listing.fingerprint)
        if index is not None:
            return index
        with self.cache_lock():
            # Another process may have written it while this one waited for the lock.
            index = read_index(path, listing.fingerprint)
            if index is None:
                index = self._hash_files(listing)
                write_index(path, listing.fingerprint, index)
        return index

    def _hash_files(self, listing: _Listing) -> FolderIndex:
        content = hashlib.sha256()
        set_aside = set()
        for path in show_progress(sorted(listing.paths), "Reading", self.name):
            try:
                # `open` with a text takes half the time of Path.read_bytes.
                with open(f"{self.folder}/{path}", "rb") as image:
                    digest = hashlib.sha256(image.read()).hexdigest()
            except OSError as error:
                raise DataError(
                    f"{self.folder / path}: cannot be read ({error.strerror})"
                ) from error
            content.update(f"{path}\0{digest}\n".encode(errors="surrogateescape"))
            if int(digest[:8], 16) < TEST_SHARE * 2**32:
                set_aside.add(path)
        test: tuple[int, ...] = ()
        if not listing.has_test:
            test = tuple(i for i, path in enumerate(listing.paths) if path in set_aside)
            if not 0 < len(test) < len(listing.paths):
                raise self._layout_error(
                    f"{len(listing.paths)} images are too few to set a fifth aside for the test"
                )
        return FolderIndex(content.hexdigest(), test)

    def _read_or_decode(self, listing: _Listing, digest: str) -> Rows:
        """Return all images, [N, image_size, image_size, 3], mapped from the cache."""
        shape = (len(listing.paths), self.image_size, self.image_size, 3)
        file = self.cache / f"{self.name}-{digest[:16]}-{self.geometry.label}-v{DECODER}.npz"
        images = map_images(file, shape, warn=False)
        if images is not None:
            return images
        with self.cache_lock():
            # Another process may have decoded them while this one waited for the lock.
            images = map_images(file, shape, warn=True)
            if images is None:
                write_images(file, shape, self._decode(listing))
                images = map_images(file, shape, warn=True)
        if images is None:
            raise DataError(f"{file}: cannot be read back after it was written; is the disk sound?")
        return images

    def _decode(self, listing: _Listing) -> Iterator[NDArray[np.uint8]]:
        """Decode all images.

        Yields:
            uint8 [B, image_size, image_size, 3], in the order of the listing.

        Raises:
            DataError: when a file cannot be read, or one has changed meanwhile.
        """
        files = [f"{self.folder}/{path}" for path in listing.paths]
        in_processes = listing.num_bytes > POOL_BYTES
        yield from decode_in_chunks(files, self.geometry, self.name, in_processes=in_processes)
        if self._scan().fingerprint != listing.fingerprint:
            raise DataError(f"{self.folder}: images have changed while they were read; start again")


def _content_of(listing: _Listing, index: FolderIndex) -> _Content:
    return _Content(index.digest, listing.num_train - len(index.test))


def _splits(listing: _Listing, index: FolderIndex) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the images for training and of those for the test."""
    positions = np.arange(len(listing.paths))
    if listing.has_test:
        return positions[: listing.num_train], positions[listing.num_train :]
    test = np.array(index.test, dtype=np.int64)
    return np.setdiff1d(positions, test), test


def _stat_images(folder: Path, prefix: str = "") -> tuple[list[str], list[int]]:
    """Return the names of the images in a folder and below it, and the numbers that show a change.

    Args:
        prefix: of the names, for a folder below that of the class.

    Returns:
        The sorted names, those of the folder itself first; size, mtime and ctime of each file, one
        after the other.

    Raises:
        OSError: when a file cannot be read or is not a regular file.
    """
    if prefix.count("/") > MOST_LEVELS:
        raise OSError(ELOOP, "too many folders in one another; is there a link to itself?", prefix)
    names = []
    numbers = []
    subfolders = []
    # By descriptor, which spares resolving the path 60,000 times.
    directory = os.open(folder, os.O_RDONLY)
    try:
        for name in sorted(os.listdir(directory)):
            if name.startswith("."):
                continue
            if not name.lower().endswith(IMAGE_SUFFIXES):
                if os.path.isdir(folder / name):
                    subfolders.append(name)
                continue
            stat = os.stat(name, dir_fd=directory)
            if not S_ISREG(stat.st_mode):  # a pipe or a device would be read for ever
                raise OSError(EINVAL, "is not a file", name)
            names.append(f"{prefix}{name}")
            numbers += [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    finally:
        os.close(directory)
    for name in subfolders:
        more_names, more_numbers = _stat_images(folder / name, f"{prefix}{name}/")
        names += more_names
        numbers += more_numbers
    return names, numbers
