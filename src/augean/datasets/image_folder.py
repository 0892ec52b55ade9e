"""Load a data set of image files, in one folder per class; they are decoded once and cached.

`image_layout` and `image_listing` find the files, `image_copies` finds those that are there twice,
`image_decoding` reads them, and `image_cache` keeps their digest and their pixels.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import ImageArray, Images, LazyImages, Source
from augean.datasets.image_cache import (
    FolderIndex,
    Place,
    map_images,
    read_index,
    write_images,
    write_index,
)
from augean.datasets.image_copies import (
    Copies,
    copies_in_both_parts,
    copies_in_two_classes,
)
from augean.datasets.image_decoding import DECODER, Geometry, decode_in_chunks
from augean.datasets.image_layout import ImageLayout
from augean.datasets.image_listing import FolderListing
from augean.errors import DataError
from augean.terminal import counted

logger = logging.getLogger(__name__)

POOL_BYTES = 4_000_000
"""Size of all image files above which several processes decode them. With less, starting the
processes takes longer than they save."""
QUICK_BYTES = 100_000_000
"""Size of all image files up to which a report reads them: a second at most from a local disk."""
TEST_SHARE = 0.2
"""Share of the images that is set aside for the test where there is no folder `test`."""
MAX_NAMED = 10
"""Classes that one message names."""


@dataclass(frozen=True)
class _Content:
    """The digest of an image folder and the number of its training images, validation included."""

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
        self._layout = ImageLayout(folder=self.folder, name=name)
        self.geometry = Geometry(image_size, resize, interpolation)

    def digest(self) -> str:
        return self._content().digest

    def known_digest(self) -> str | None:
        # Without an index Augean has never read this folder here, and it must not do so for a
        # report: a run's summary may come from a stranger, who could name any folder of the disk.
        if not self._index_file.is_file():
            return None
        listing = self._layout.scan()
        index = read_index(self._index_file, listing.fingerprint)
        if index is None and listing.num_bytes <= QUICK_BYTES:
            index = self._hash_files(listing)
        return None if index is None else index.digest

    def is_here(self) -> bool:
        return self.folder.is_dir()

    def read_classes(self) -> tuple[str, ...]:
        return self._layout.scan().classes

    def count_train_images(self) -> int:
        return self._content().num_train

    @property
    def _index_file(self) -> Path:
        return self.cache / f"{self.name}.index.json"

    def _content(self) -> _Content:
        """Return the digest and number of training images, from the first call in this process."""
        content = process_contents.get((self.folder, self.cache))
        if content is None:
            listing = self._layout.scan()
            content = self._remember(listing, self._index(listing))
        return content

    def _remember(self, listing: FolderListing, index: FolderIndex) -> _Content:
        """Return the content that this process has noted first; if it is this one, describe it."""
        key = (self.folder, self.cache)
        if key not in process_contents:
            num_train = listing.num_before_test - len(index.test)
            process_contents[key] = _Content(digest=index.digest, num_train=num_train)
            self._describe(listing, index)
        return process_contents[key]

    def _describe(self, listing: FolderListing, index: FolderIndex) -> None:
        """Log what there is to train on: a wrong folder shows in the names of its classes.

        Warn of what makes the test accuracy mean less than it seems to.
        """
        text = (
            f"{self.folder}: {counted(len(listing.paths), 'image')} of {len(listing.classes)}"
            f" classes: {_name_some(listing.classes)}"
        )
        if listing.others:
            num_others = counted(len(listing.others), "other file")
            text += f"; {num_others} ignored, such as {listing.others[0]}"
        logger.info(text)
        if not listing.has_test:
            num_test = len(index.test)
            logger.info(
                f"{self.folder}: no folder test, so a fifth of the images is set aside for it:"
                f" {listing.num_before_test - num_test:,} for training and validation,"
                f" {num_test:,} for the test"
            )
        _, test = _splits(listing, index)
        num_test_images = np.bincount(listing.labels[test], minlength=len(listing.classes))
        untested = [listing.classes[label] for label in np.flatnonzero(num_test_images == 0)]
        if untested:
            logger.warning(
                f"{self.folder}: no test image of {_name_some(untested)}; the test accuracy says"
                " nothing about such a class: add images of it, or choose the test images of all"
                " classes yourself: put them into test/<class>, the others into train/<class>"
            )
        if "part" in index.copies:
            logger.warning(
                f"{self.folder}: in both train and test: {index.copies['part']}; the test accuracy"
                " is then not that of new images: remove them from one of the two"
            )
        if "class" in index.copies:
            logger.warning(
                f"{self.folder}: in more than one class: {index.copies['class']}; some of their"
                " labels are wrong then: leave each in one class only"
            )

    def load(self) -> Images:
        return self._mapped_images().in_memory()

    def load_lazily(self) -> LazyImages:
        # A subclass that overrides `load` has other images, which it holds in memory.
        if type(self).load is not ImageFolder.load:
            return super().load_lazily()
        return self._mapped_images()

    def _mapped_images(self) -> LazyImages:
        """Return the images of the folder, mapped from the cache."""
        listing = self._layout.scan()
        index = self._index(listing)
        # Runs of this process may already have their addresses by an earlier digest.
        if self._remember(listing, index).digest != index.digest:
            raise DataError(
                f"{self.folder}: images have changed since this command started; start it again"
            )
        images = self._read_or_decode(listing, index.digest)
        train, test = _splits(listing, index)
        return LazyImages(
            train_images=images.select(train),
            train_labels=listing.labels[train],
            test_images=images.select(test),
            test_labels=listing.labels[test],
            classes=listing.classes,
        )

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
        """Read all files, for the digest of the data and the hash of each image."""
        from tqdm import tqdm

        content = hashlib.sha256()
        hashes = np.zeros(len(listing.paths), dtype=np.uint64)
        # Sorted by path alone, so that the digest does not depend on the order of the listing.
        positions = sorted(range(len(listing.paths)), key=listing.paths.__getitem__)
        bar = tqdm(positions, f"Reading {self.name}", unit_scale=True, leave=False, disable=None)
        for position in bar:
            path = listing.paths[position]
            try:
                # `open` with a text takes half the time of Path.read_bytes.
                with open(f"{self.folder}/{path}", "rb") as image:
                    digest = hashlib.sha256(image.read()).hexdigest()
            except OSError as error:
                raise DataError(
                    f"{self.folder / path}: cannot be read ({error.strerror})"
                ) from error
            # The names of files may hold bytes beside UTF-8, which Python reads as surrogates.
            content.update(f"{path}\0{digest}\n".encode(errors="surrogateescape"))
            # 64 bits suffice to tell millions of images apart.
            hashes[position] = int(digest[:16], 16)
        test: tuple[int, ...] = ()
        if not listing.has_test:
            # The first 32 bits of an image's sha256 are evenly spread from 0 to 2**32.
            is_test = (hashes >> np.uint64(32)) < TEST_SHARE * 2**32
            test = tuple(np.flatnonzero(is_test).tolist())
            self._check_test(listing, test)
        copies = _find_copies(listing, hashes)
        return FolderIndex(digest=content.hexdigest(), test=test, copies=copies)

    def _check_test(self, listing: FolderListing, test: tuple[int, ...]) -> None:
        """Check the images that are set aside for the test.

        Args:
            test: their positions in the listing.

        Raises:
            DataError: when there are none, or a class has none left for training.
        """
        if not 0 < len(test) < len(listing.paths):
            raise self._layout.error(
                f"too few images to set a fifth aside for the test: there are {len(listing.paths)}"
            )
        left = np.delete(listing.labels, list(test))
        num_left = np.bincount(left, minlength=len(listing.classes))
        if not num_left.all():
            label = int(np.argmin(num_left))
            num_images = np.count_nonzero(listing.labels == label)
            raise self._layout.error(
                f"the class {listing.classes[label]} has too few images to set a fifth aside for"
                f" the test: all {num_images} of it would be"
            )

    def _read_or_decode(self, listing: FolderListing, digest: str) -> ImageArray:
        """Return all images, [N, image_size, image_size, 3], mapped from the cache."""
        shape = (len(listing.paths), self.image_size, self.image_size, 3)
        # Whatever changes the pixels is in the name, so that an older file is never read for them.
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

    def _decode(self, listing: FolderListing) -> Iterator[NDArray[np.uint8]]:
        """Decode all images.

        Yields:
            uint8 [B, image_size, image_size, 3], in the order of the listing.

        Raises:
            DataError: when a file cannot be read, or one has changed meanwhile.
        """
        files = [f"{self.folder}/{path}" for path in listing.paths]
        in_processes = listing.num_bytes > POOL_BYTES
        yield from decode_in_chunks(files, self.geometry, self.name, in_processes=in_processes)
        # The pixels are kept by the digest that was computed before: they must be of those files.
        if self._layout.scan().fingerprint != listing.fingerprint:
            raise DataError(f"{self.folder}: images have changed while they were read; start again")


def _name_some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    text = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        text += f" and {len(names) - MAX_NAMED} more"
    return text


def _find_copies(listing: FolderListing, hashes: NDArray[np.uint64]) -> dict[Place, Copies]:
    """Find the images that are in two parts or in two classes; `hashes` are of their content."""
    copies: dict[Place, Copies] = {}
    in_parts = copies_in_both_parts(hashes, listing.paths, listing.num_before_test)
    if in_parts is not None:
        copies["part"] = in_parts
    in_classes = copies_in_two_classes(hashes, listing.paths, listing.labels)
    if in_classes is not None:
        copies["class"] = in_classes
    return copies


def _splits(
    listing: FolderListing, index: FolderIndex
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the images for training and of those for the test."""
    positions = np.arange(len(listing.paths))
    if listing.has_test:
        return positions[: listing.num_before_test], positions[listing.num_before_test :]
    test = np.array(index.test, dtype=np.int64)
    return np.setdiff1d(positions, test), test
