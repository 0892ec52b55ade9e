"""Define a data set: plain arrays and a content digest that enters the run id.

A `Source` costs nothing to construct, and its `digest` identifies the data without decoding it, so
that a finished run is recognised in milliseconds. For the same reason nothing in `augean.datasets`
imports torch at module level. A new data set is one subclass of `Source` and one YAML file.
"""

import math
import mmap as mmap_module
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augean.datasets.image_decoding import Geometry
from augean.errors import ConfigError, DataError

MADV_DONTNEED = getattr(mmap_module, "MADV_DONTNEED", 4)
"""Not there on every system."""
PLACE_ARGUMENTS = ("name", "root", "cache")
"""Arguments of a `Source` that say where its data lies, and not what it is."""


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Raises:
        DataError: when images or labels do not have the type and shape given below.
    """

    train_images: NDArray[np.uint8]
    """[N, H, W, 3], RGB from 0 to 255"""
    train_labels: NDArray[np.int64]
    """[N], indices of `classes`"""
    test_images: NDArray[np.uint8]
    """[M, H, W, 3], like `train_images`"""
    test_labels: NDArray[np.int64]
    """[M]"""
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""

    def __post_init__(self) -> None:
        _check_arrays("training", self.train_images, self.train_labels)
        _check_arrays("test", self.test_images, self.test_labels)


def _check_arrays(part: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    # Compared as text, such as "uint8[5, 32, 32, 3], int64[5]", which is what the message shows.
    # Any height and width are valid, so those of the images are taken for both.
    actual_layout = f"{images.dtype}{list(images.shape)}, {labels.dtype}{list(labels.shape)}"
    image_shape = [len(labels), *images.shape[1:3], 3]
    valid_layout = f"uint8{image_shape}, int64[{len(labels)}]"
    if actual_layout != valid_layout:
        raise DataError(
            f"the {part} images and labels of augean.datasets.base.Images are {actual_layout}, must"
            " be uint8[N, H, W, 3], int64[N]; convert them, as by labels.astype(numpy.int64)"
        )


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Images out of an array that is not copied, as it may be larger than the memory."""

    array: NDArray[np.uint8]
    """[N, H, W, 3], in memory or mapped from a file"""
    positions: NDArray[np.int64]
    """[n], of the images in the array"""
    mapping: mmap | None = None
    """The mapped file that holds the array; None where it is in memory."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.array.shape[1:]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape)

    def select(self, index: NDArray[np.int64]) -> "ImageArray":
        """Return some of these images, again without a copy."""
        return replace(self, positions=self.positions[index])

    def take(self, index: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> Any:
        """Return a copy of the images `index`, [B, H, W, 3].

        Args:
            out: an array of that shape to write into.
        """
        # `clip` as NumPy takes no `out` without a copy of it otherwise; no index is out of range.
        return np.take(self.array, self.positions[index], axis=0, out=out, mode="clip")

    def copy(self) -> NDArray[np.uint8]:
        """Return a copy of all these images."""
        images: NDArray[np.uint8] = self.take(np.arange(len(self)))
        self.release()
        return images

    def release(self) -> None:
        """Give back the memory of what has been read from a mapped file.

        The system keeps the content as long as nobody else needs the memory.
        """
        if self.mapping is not None and hasattr(self.mapping, "madvise"):
            self.mapping.madvise(MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class LazyImages:
    """A data set whose images need not be in memory; else as `Images`."""

    train_images: ImageArray
    train_labels: NDArray[np.int64]
    test_images: ImageArray
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def in_memory(self) -> Images:
        """Return copies of all images."""
        return Images(
            train_images=self.train_images.copy(),
            train_labels=self.train_labels,
            test_images=self.test_images.copy(),
            test_labels=self.test_labels,
            classes=self.classes,
        )


class Source(ABC):
    """A data set that can be loaded; constructing it does not touch the disk.

    Args:
        name: `dataset.name`; the folder of an `ImageFolder`.
        root: `runtime.data`, the folder of the data sets.
        cache: `runtime.cache`, a folder for decoded images, indices and locks.
        image_size: height and width in pixels of the images that `load` returns.

    A subclass takes the entries of `dataset.arguments` as further keyword arguments.

    Raises:
        ConfigError: when the class has an `only_size` and `image_size` is another one.
    """

    _constructor_arguments: str
    """All but the folders, see `__new__`."""
    only_size: int | None = None
    """The one valid `image_size` of a data set whose images are not resized; None: any is valid."""
    fixed_num_classes: int | None = None
    """Number of the classes, of a data set that is the same everywhere; else None."""

    def __new__(cls, *values: Any, **options: Any) -> Self:
        source = super().__new__(cls)
        # Noted here, as `Source.__init__` is not given the arguments of a subclass. Not the
        # folders: the same data in two places is the same data. As text, as lists have no hash.
        arguments = {key: options[key] for key in options if key not in PLACE_ARGUMENTS}
        source._constructor_arguments = repr((values, sorted(arguments.items())))
        return source

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int) -> None:
        if self.only_size not in (None, image_size):
            raise ConfigError(
                f"dataset.image_size={image_size}: the images of {type(self).__name__} are not"
                f" resized; set dataset.image_size={self.only_size}"
            )
        self.name = name
        # Absolute, as a later `chdir` must not lead to other data.
        self.root = Path(root).expanduser().absolute()
        self.cache = Path(cache).expanduser().absolute()
        self.image_size = image_size
        self.geometry = Geometry(image_size)
        """How an image file of any size becomes an image for a network of this data."""

    def __eq__(self, other: object) -> bool:
        """Return whether both sources load the same images.

        Runs in one process use this to share images that are already loaded.
        """
        return isinstance(other, Source) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        # With the arguments, which may change images that a digest of a file does not tell apart.
        return type(self), self.image_size, self._constructor_arguments, self.digest()

    @abstractmethod
    def digest(self) -> str:
        """Return a text that identifies the content of the data: a part of the run id.

        It does not depend on where the data lies. Later calls are cheap.

        Raises:
            DataError: when data is missing, so that its content is not known.
        """

    def known_digest(self) -> str | None:
        """Return the digest of the data as it is now, where that takes little reading.

        A report asks for it, which must not wait for gigabytes.

        Returns:
            None where it would take more. A class whose `digest` reads much overrides this.

        Raises:
            DataError: as `digest`.
        """
        return self.digest()

    def is_here(self) -> bool:
        """Return whether the data lies below `root`, whole or in part, or needs no files.

        A class whose `digest` reads much, or reads nothing, overrides this.
        """
        try:
            self.digest()
        except DataError:
            return False
        return True

    @abstractmethod
    def load(self) -> Images:
        """Return the images, the same on every call.

        Raises:
            DataError: when data is missing, incomplete or broken.
        """

    def load_lazily(self) -> LazyImages:
        """Return the images without holding all of them in memory, where a subclass can do so.

        Raises:
            DataError: as `load`.
        """
        images = self.load()
        return LazyImages(
            train_images=ImageArray(images.train_images, np.arange(len(images.train_labels))),
            train_labels=images.train_labels,
            test_images=ImageArray(images.test_images, np.arange(len(images.test_labels))),
            test_labels=images.test_labels,
            classes=images.classes,
        )

    def read_classes(self) -> tuple[str, ...]:
        """Return the names of the classes, as `Images.classes` has them.

        A class that finds them without reading its images overrides this.

        Raises:
            DataError: as `load`.
        """
        return self.load_lazily().classes

    def count_train_images(self) -> int:
        """Return the number of training images, those for validation among them.

        Raises:
            DataError: as `load`.
        """
        return len(self.load().train_labels)

    @property
    def counts_without_loading(self) -> bool:
        """Return whether `count_train_images` does without `load`.

        It does where the class that says how to load also says how many images that gives.
        """
        for cls in type(self).__mro__:
            own_methods = {"load", "load_lazily", "count_train_images"} & vars(cls).keys()
            if own_methods:
                return cls is not Source and "count_train_images" in own_methods
        return False

    @contextmanager
    def cache_lock(self) -> Iterator[None]:
        """Hold the data set's lock in the cache folder.

        One process prepares the data, and the others wait for it.

        Raises:
            DataError: when the folder cannot be written.
        """
        from filelock import FileLock  # here, as most data sets never need it

        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            # No fall-back to a marker file: that would outlive a killed process and block the
            # others.
            lock = FileLock(self.cache / f"{self.name}.lock", fallback_to_soft=False)
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise cache_error(self.cache, error) from error
        try:
            yield
        finally:
            lock.release()


def cache_error(cache: Path, error: Exception) -> DataError:
    """Return the error for a cache folder that cannot be written."""
    return DataError(
        f"runtime.cache={cache}: cannot write there ({error}); "
        "set runtime.cache=<a folder that you can write to, on a file system with locks>"
    )
