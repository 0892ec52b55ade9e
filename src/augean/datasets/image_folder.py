"""A data set of image files, in one folder per class; they are decoded once and cached."""

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import Images, Source
from augean.datasets.image_cache import (
    FolderIndex,
    read_images,
    read_index,
    write_images,
    write_index,
)
from augean.datasets.image_decoding import (
    DECODER,
    IMAGE_SUFFIXES,
    Geometry,
    decode_all,
    show_progress,
)
from augean.datasets.image_listing import (
    FolderListing,
    ImageFiles,
    count_images,
    describe_unread,
    is_image,
    list_images,
)
from augean.errors import DataError

logger = logging.getLogger(__name__)

POOL_BYTES = 4_000_000
"""Size of all image files above which several processes decode them. With less, starting the
processes takes longer than they save."""
QUICK_BYTES = 100_000_000
"""Size of all image files up to which a report reads them: a second at most from a local disk."""
TEST_SHARE = 0.2
"""Share of the images that is set aside for the test where there is no folder `test`."""

PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
"""Names of folders, in lower or upper case, that hold classes and are not classes themselves."""


@dataclass(frozen=True)
class _Content:
    """What is known of an image folder once its files have been read."""

    digest: str
    num_train: int


process_contents: dict[tuple[Path, Path], _Content] = {}
"""The content of each image folder that this process has used, by image folder and cache folder.

All runs of a process have their addresses by the same digest, even if files change meanwhile."""


class ImageFolder(Source):
    """Images in `<root>/<name>/{train,test}/<class>/<image>`, or in folders below that of a class.

    Without the folder `test`, a fifth of the images of `train` is set aside for the test: those
    whose content has a small hash, so that added files never move others and copies of one image
    never lie on both sides. The classes may then lie directly in `<root>/<name>`, too.

    Each of `train` and `test` has the layout of torchvision's ImageFolder. Images become RGB; those
    that are not squares of `image_size` are resized by their shorter side (antialiased)
    and cropped at the centre, which equals torchvision's Resize and CenterCrop. Transparency is
    dropped; orientation tags are ignored; of several frames or pages the first counts. Hidden files
    and files that are not images are ignored. Images that would be left out are refused: those in
    other folders, and those with suffixes that are not read.

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

    def known_digest(self) -> str | None:
        # Without an index Augean has never read this folder here. A run's summary may come from a
        # stranger, who could name any folder of the disk.
        if not self._index_file.is_file():
            return None
        listing = self._scan()
        index = read_index(self._index_file, listing.fingerprint)
        if index is None and listing.num_bytes <= QUICK_BYTES:
            index = self._hash_files(listing)
        return None if index is None else index.digest

    def count_train_images(self) -> int:
        return self._content().num_train

    @property
    def _index_file(self) -> Path:
        return self.cache / f"{self.name}.index.json"

    def _content(self) -> _Content:
        key = (self.folder, self.cache)
        if key not in process_contents:
            listing = self._scan()
            index = self._index(listing)
            num_train = listing.num_train - len(index.test)
            process_contents[key] = _Content(digest=index.digest, num_train=num_train)
            if not listing.has_test:
                logger.info(
                    f"{self.folder}: no folder test, so a fifth of the images is set aside for it:"
                    f" {num_train:,} for training and validation,"
                    f" {len(listing.paths) - num_train:,} for the test"
                )
        return process_contents[key]

    def load(self) -> Images:
        listing = self._scan()
        index = self._index(listing)
        content = _Content(index.digest, listing.num_train - len(index.test))
        # Runs of this process may already have their addresses by an earlier digest.
        if process_contents.setdefault((self.folder, self.cache), content) != content:
            raise DataError(
                f"{self.folder}: images have changed since this command started; start it again"
            )
        images = self._read_or_decode(listing, index.digest)
        train, test = _splits(listing, index)
        return Images(
            train_images=images[train],
            train_labels=listing.labels[train],
            test_images=images[test],
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

    def _scan(self) -> FolderListing:
        """List all images and read their sizes and times.

        Takes about 0.2 s for 60,000 images: the cost of a digest that the index already has.

        Raises:
            DataError: when the folder does not have the layout, or cannot be read.
        """
        parts = self._parts()
        self._refuse_others(parts)
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
        if len(classes) == 1:
            raise self._layout_error(
                f"{classes[0]} is the only class folder in {self.folder / parts[0]}, and one class"
                " leaves nothing to learn"
            )
        fingerprint = hashlib.sha256()
        paths: list[str] = []
        labels: list[NDArray[np.int64]] = []
        unread: list[str] = []
        num_bytes = 0
        num_train = 0
        for part in parts:
            for label, name in enumerate(classes):
                files = self._list_class(self.folder / part / name)
                fingerprint.update(repr((part, name, files.names)).encode())
                fingerprint.update(np.array(files.numbers, dtype=np.int64).tobytes())
                folder = f"{part}/{name}" if part else name
                paths += [f"{folder}/{file}" for file in files.names]
                unread += [f"{folder}/{file}" for file in files.unread]
                labels.append(np.full(len(files.names), label, dtype=np.int64))
                # Size, mtime and ctime of each file, one after the other: every third is a size.
                sizes = files.numbers[::3]
                num_bytes += sum(sizes)
            if part != "test":
                num_train = len(paths)
        if unread:
            raise DataError(describe_unread(self.folder, unread))
        return FolderListing(
            classes=classes,
            paths=paths,
            labels=np.concatenate(labels),
            num_train=num_train,
            has_test="test" in parts,
            num_bytes=num_bytes,
            fingerprint=fingerprint.hexdigest(),
        )

    def _parts(self) -> list[str]:
        """Return the folders that hold the classes; an empty text is the data set's own folder."""
        parts = [part for part in ("train", "test") if (self.folder / part).is_dir()]
        if parts == ["test"] or not self.folder.is_dir():
            return ["train", "test"]  # which is then said to be missing
        return parts or [""]

    def _refuse_others(self, parts: Sequence[str]) -> None:
        """Refuse images that would be left out as they lie beside `train` and `test`.

        Without these two folders, refuse what looks like another name of them: each of its classes
        would be lost in one class of this name.
        """
        try:
            names = sorted(name for name in os.listdir(self.folder) if not name.startswith("."))
        except OSError:
            return  # a folder that cannot be read is named when its classes are listed
        if parts == [""]:
            wrong = [name for name in names if name.lower() in PARTS]
            if wrong and (self.folder / wrong[0]).is_dir():
                raise self._layout_error(
                    f"{self.folder / wrong[0]} is not taken for a class; rename it to train or test"
                )
            return
        if "train" not in names:
            return  # which is then said to be missing
        for name in names:
            path = self.folder / name
            if name in ("train", "test"):
                continue
            count = count_images(path) if path.is_dir() else int(is_image(name))
            if count:
                raise DataError(
                    f"{path}: {count} images beside the folder {parts[0]} would be left out; move"
                    " them below train (validation images are taken from there) or test, or away"
                )

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
                    elif is_image(entry.name):
                        strays.append(entry.name)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        if strays:
            raise self._layout_error(
                f"{len(strays)} images lie in {folder} itself and not in the folder of a class,"
                f" such as {min(strays)}"
            )
        for name in names:
            # A name that is not UTF-8 could not be written into summaries and tables.
            if os.fsencode(name).decode(errors="replace") != name:
                raise self._layout_error(
                    f"the name of a class is not valid UTF-8: {name!r} in {folder}"
                )
        return tuple(sorted(names))

    def _list_class(self, folder: Path) -> ImageFiles:
        """List the images of a class.

        Raises:
            DataError: when the folder has no image or cannot be read.
        """
        try:
            files = list_images(folder)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        if not files.names and not files.unread:
            raise self._layout_error(f"there is no image in {folder}")
        return files

    def _unreadable(self, folder: Path, error: OSError) -> DataError:
        return self._layout_error(f"cannot read {folder / str(error.filename)} ({error.strerror})")

    def _index(self, listing: FolderListing) -> FolderIndex:
        """Return the index of the files as they are, from the cache or made by reading them."""
        path = self._index_file
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

    def _hash_files(self, listing: FolderListing) -> FolderIndex:
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
            for label, name in enumerate(listing.classes):
                own = set(np.flatnonzero(listing.labels == label).tolist())
                if own <= set(test):
                    raise self._layout_error(
                        f"the class {name} has too few images to set a fifth aside for the test:"
                        f" all {len(own)} of it would be"
                    )
        return FolderIndex(content.hexdigest(), test)

    def _read_or_decode(self, listing: FolderListing, digest: str) -> NDArray[np.uint8]:
        """Return all images, [N, image_size, image_size, 3], from the cache if they are there."""
        size = self.image_size
        file = self.cache / f"{self.name}-{digest[:16]}-{self.geometry.label}-v{DECODER}.npz"
        read = partial(read_images, file, (len(listing.paths), size, size, 3))
        images = read(warn=False)
        if images is not None:
            return images
        with self.cache_lock():
            # Another process may have decoded them while this one waited for the lock.
            images = read(warn=True)
            if images is None:
                images = self._decode(listing)
                write_images(file, images)
        return images

    def _decode(self, listing: FolderListing) -> NDArray[np.uint8]:
        """Decode all images: uint8 [N, image_size, image_size, 3].

        Raises:
            DataError: when a file cannot be read, or one has changed meanwhile.
        """
        files = [f"{self.folder}/{path}" for path in listing.paths]
        in_processes = listing.num_bytes > POOL_BYTES
        images = decode_all(files, self.geometry, self.name, in_processes=in_processes)
        if self._scan().fingerprint != listing.fingerprint:
            raise DataError(f"{self.folder}: images have changed while they were read; start again")
        return images


def _splits(
    listing: FolderListing, index: FolderIndex
) -> tuple[slice | NDArray[np.int64], slice | NDArray[np.int64]]:
    """Return the positions of the images for training and of those for the test."""
    if listing.has_test:
        # Slices spare a copy of all images.
        return slice(None, listing.num_train), slice(listing.num_train, None)
    positions = np.arange(len(listing.paths))
    test = np.array(index.test, dtype=np.int64)
    return np.setdiff1d(positions, test), test
