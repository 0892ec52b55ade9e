"""A data set of image files, in one folder per class; they are decoded once and cached."""

import hashlib
import os
from dataclasses import dataclass
from errno import EINVAL
from functools import partial
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import Images, Source
from augean.datasets.image_cache import read_images, read_index, write_images, write_index
from augean.datasets.image_decoding import DECODER, IMAGE_SUFFIXES, decode_all, show_progress
from augean.errors import DataError

POOL_BYTES = 4_000_000
"""Size of all image files above which several processes decode them. With less, starting the
processes takes longer than they save."""

process_digests: dict[tuple[Path, Path], str] = {}
"""The digest of each image folder that this process has used, by image folder and cache folder.

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
    """Number of training images; they are the first ones."""
    num_bytes: int
    """Size of all files together."""
    fingerprint: str
    """sha256 of the paths, sizes, mtimes and ctimes: another one means that files may have changed.
    The ctime is needed because unpacking an archive restores the others."""


class ImageFolder(Source):
    """Images in `<root>/<name>/{train,test}/<class>/<image>`.

    Each of `train` and `test` has the layout of torchvision's ImageFolder. Images become RGB; those
    that are not squares of `image_size` are resized by their shorter side (bilinear, antialiased)
    and cropped at the centre, which equals torchvision's Resize and CenterCrop. Transparency is
    dropped; orientation tags are ignored. Hidden files and files with other suffixes are ignored.

    The digest is of the files' paths below the folder and of their bytes. An index in the cache
    folder makes it unnecessary to read the files again while none changes. Decoded images are kept
    in the cache too, by digest and image size.
    """

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        self.folder = self.root / name

    def digest(self) -> str:
        key = (self.folder, self.cache)
        if key not in process_digests:
            process_digests[key] = self._content_digest(self._scan())
        return process_digests[key]

    def load(self) -> Images:
        listing = self._scan()
        digest = self._content_digest(listing)
        # Runs of this process may already have their addresses by an earlier digest.
        if process_digests.setdefault((self.folder, self.cache), digest) != digest:
            raise DataError(
                f"{self.folder}: images have changed since this command started; start it again"
            )
        images = self._read_or_decode(listing, digest)
        num_train = listing.num_train
        return Images(
            train_images=images[:num_train],
            train_labels=listing.labels[:num_train],
            test_images=images[num_train:],
            test_labels=listing.labels[num_train:],
            classes=listing.classes,
        )

    def _layout_error(self, problem: str) -> DataError:
        """Return the error for a folder without the layout of an `ImageFolder`."""
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected"
            f" {self.folder}/{{train,test}}/<class>/<image>, the same classes in both and images of"
            f" {', '.join(IMAGE_SUFFIXES)}; put them there, or set runtime.data=<the folder that"
            f" contains {self.name}>"
        )

    def _scan(self) -> _Listing:
        """List all images and read their sizes and times.

        Takes about 0.2 s for 60,000 images: the cost of a digest that the index already has.

        Raises:
            DataError: when the folder does not have the layout, or cannot be read.
        """
        classes = self._class_names("train")
        # Classes that only one of train and test has.
        unmatched = set(classes) ^ set(self._class_names("test"))
        if unmatched:
            raise self._layout_error(
                f"train and test do not both have the classes {', '.join(sorted(unmatched))}"
            )
        if not classes:
            raise self._layout_error(f"there is no class folder in {self.folder / 'train'}")
        fingerprint = hashlib.sha256()
        paths: list[str] = []
        labels: list[NDArray[np.int64]] = []
        num_bytes = 0
        num_train = 0
        for part in ("train", "test"):
            for label, name in enumerate(classes):
                files, numbers = self._stat_class(self.folder / part / name)
                fingerprint.update(repr((part, name, files)).encode())
                fingerprint.update(np.array(numbers, dtype=np.int64).tobytes())
                paths += [f"{part}/{name}/{file}" for file in files]
                labels.append(np.full(len(files), label, dtype=np.int64))
                # Size, mtime and ctime of each file, one after the other: every third is a size.
                sizes = numbers[::3]
                num_bytes += sum(sizes)
            if part == "train":
                num_train = len(paths)
        return _Listing(
            classes=classes,
            paths=paths,
            labels=np.concatenate(labels),
            num_train=num_train,
            num_bytes=num_bytes,
            fingerprint=fingerprint.hexdigest(),
        )

    def _class_names(self, part: str) -> tuple[str, ...]:
        """Return the names of the class folders in `train` or `test`, sorted."""
        folder = self.folder / part
        names = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir() and not entry.name.startswith("."):
                        names.append(entry.name)
        except OSError as error:
            raise self._unreadable(folder, error) from error
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

    def _content_digest(self, listing: _Listing) -> str:
        """Return the digest of the files, from the index or by reading all of them."""
        index = self.cache / f"{self.name}.index.json"
        digest = read_index(index, listing.fingerprint)
        if digest is not None:
            return digest
        with self.cache_lock():
            # Another process may have written it while this one waited for the lock.
            digest = read_index(index, listing.fingerprint)
            if digest is None:
                digest = self._hash_files(listing)
                write_index(index, listing.fingerprint, digest)
        return digest

    def _hash_files(self, listing: _Listing) -> str:
        """Return the sha256 of the lines `<path> NUL <sha256 of the file>`, sorted by path."""
        content = hashlib.sha256()
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
        return content.hexdigest()

    def _read_or_decode(self, listing: _Listing, digest: str) -> NDArray[np.uint8]:
        """Return all images, [N, image_size, image_size, 3], from the cache if they are there."""
        size = self.image_size
        file = self.cache / f"{self.name}-{digest[:16]}-{size}px-v{DECODER}.npz"
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

    def _decode(self, listing: _Listing) -> NDArray[np.uint8]:
        """Decode all images: uint8 [N, image_size, image_size, 3].

        Raises:
            DataError: when a file cannot be read, or one has changed meanwhile.
        """
        files = [f"{self.folder}/{path}" for path in listing.paths]
        in_processes = listing.num_bytes > POOL_BYTES
        images = decode_all(files, self.image_size, self.name, in_processes=in_processes)
        if self._scan().fingerprint != listing.fingerprint:
            raise DataError(f"{self.folder}: images have changed while they were read; start again")
        return images


def _stat_images(folder: Path) -> tuple[list[str], list[int]]:
    """Return the names of the images in a folder, and numbers that differ when one has changed.

    Returns:
        The N names, sorted; and 3N numbers: size in bytes, mtime and ctime in nanoseconds of each
        file, one after the other.

    Raises:
        OSError: when a file cannot be read or is not a regular file.
    """
    # Files are named relative to a descriptor, so that the system does not resolve the path of the
    # folder 60,000 times.
    directory = os.open(folder, os.O_RDONLY)
    names = []
    numbers = []
    try:
        for name in sorted(os.listdir(directory)):
            if not name.lower().endswith(IMAGE_SUFFIXES) or name.startswith("."):
                continue
            stat = os.stat(name, dir_fd=directory)
            if not S_ISREG(stat.st_mode):  # a pipe or a device would be read for ever
                raise OSError(EINVAL, "is not a file", name)
            names.append(name)
            numbers += [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    finally:
        os.close(directory)
    return names, numbers
