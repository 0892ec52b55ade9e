"""Define a data set: plain arrays and a content digest that enters the run id.

A `Source` costs nothing to construct and can say what its data is (`digest`) without decoding it,
so that a finished run is recognised in milliseconds. Nothing in `augean.datasets` imports torch at
module level. A new data set is one subclass of `Source` and one YAML file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augean.errors import ConfigError, DataError

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Raises:
        ValueError: when images or labels do not have the type and shape given below.
    """

    train_images: NDArray[np.uint8]
    """[N, H, W, 3], 0 to 255"""
    train_labels: NDArray[np.int64]
    """[N], indices of `classes`"""
    test_images: NDArray[np.uint8]
    """[M, H, W, 3], like `train_images`"""
    test_labels: NDArray[np.int64]
    """[M]"""
    classes: tuple[str, ...]
    """Names, by label."""

    def __post_init__(self) -> None:
        _check_arrays(self.train_images, self.train_labels)
        _check_arrays(self.test_images, self.test_labels)


def _check_arrays(images: NDArray[Any], labels: NDArray[Any]) -> None:
    given = f"{images.dtype}{list(images.shape)}, {labels.dtype}{list(labels.shape)}"
    valid_shape = [len(labels), *images.shape[1:3], 3]
    if given != f"uint8{valid_shape}, int64[{len(labels)}]":
        raise ValueError(f"images and labels are {given}, must be uint8[N, H, W, 3], int64[N]")


class Source(ABC):
    """A data set that can be loaded; constructing it touches no disk.

    Args:
        name: `dataset.name`; the folder of an `ImageFolder`.
        root: `runtime.data`, the folder of the data sets.
        cache: `runtime.cache`, a folder for decoded images, indices and locks.
        image_size: height and width in pixels of the images that `load` returns.

    A subclass names what it takes from `dataset.arguments` as further keyword arguments.

    Raises:
        ConfigError: for another `image_size` than the `only_size` of the data set.
    """

    only_size: int | None = None
    """`image_size` of a data set whose images are not resized."""

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int) -> None:
        if self.only_size not in (None, image_size):
            raise ConfigError(
                f"dataset.image_size={image_size}: the images of {type(self).__name__} are not"
                f" resized; set dataset.image_size={self.only_size}"
            )
        self.name = name
        self.root = Path(root).expanduser().absolute()
        self.cache = Path(cache).expanduser().absolute()
        self.image_size = image_size

    def __eq__(self, other: object) -> bool:
        """Return whether both give the same images: runs of one process share what was loaded."""
        return isinstance(other, Source) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[type, int, str]:
        return type(self), self.image_size, self.digest()

    @abstractmethod
    def digest(self) -> str:
        """Return what identifies the data, wherever it lies: part of the run id.

        Cheap when it is called again.

        Raises:
            DataError: when this cannot be said because data is missing.
        """

    @abstractmethod
    def load(self) -> Images:
        """Return the images, the same on every call.

        Raises:
            DataError: when data is missing, incomplete or broken.
        """

    def count_train_images(self) -> int:
        """Return the number of training images, those for validation among them.

        Raises:
            DataError: as `load`.
        """
        return len(self.load().train_labels)

    @contextmanager
    def cache_lock(self) -> Iterator[None]:
        """Hold the data set's lock in the cache folder.

        One process prepares the data, and the others wait for it.

        Raises:
            DataError: when the folder cannot be written.
        """
        from filelock import FileLock

        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            # No fall-back to a marker file: that would outlive a killed holder.
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
