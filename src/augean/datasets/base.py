"""What a data set is: plain arrays and a content digest that enters the run id.

A `Source` costs nothing to construct and can say what its data is (`digest`) without decoding it,
so that a finished run is recognised in milliseconds. Nothing in `augean.datasets` imports torch at
module level. A new data set is one subclass of `Source` and one YAML file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for images, labels in (
            (self.train_images, self.train_labels),
            (self.test_images, self.test_labels),
        ):
            kinds = f"{images.dtype}{list(images.shape)}, {labels.dtype}{list(labels.shape)}"
            if kinds != f"uint8{[len(labels), *images.shape[1:3], 3]}, int64[{len(labels)}]":
                raise ValueError(
                    f"images and labels are {kinds}, must be uint8[N, H, W, 3], int64[N]"
                )


class Source(ABC):
    """A data set that can be loaded; constructing it touches no disk.

    Args:
        name: `dataset.name`; the folder of an `ImageFolder`.
        root: `runtime.data`, the folder of the data sets.
        cache: `runtime.cache`, a folder for decoded images, indices and locks.
        image_size: height and width in pixels of the images that `load` returns.

    A subclass names what it takes from `dataset.arguments` as further keyword arguments.

    Raises:
        ConfigError: for another `image_size` than the only one that there is.
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
        """Sources of the same images are equal, so that runs of one process share what was
        loaded.
        """
        return isinstance(other, Source) and (type(self), self.image_size, self.digest()) == (
            type(other),
            other.image_size,
            other.digest(),
        )

    def __hash__(self) -> int:
        return hash((type(self), self.image_size, self.digest()))

    @abstractmethod
    def digest(self) -> str:
        """What the data is, wherever it lies: part of the run id. Cheap when asked again.

        Raises:
            DataError: when this cannot be said because data is missing.
        """

    @abstractmethod
    def load(self) -> Images:
        """The images, the same on every call.

        Raises:
            DataError: when data is missing, incomplete or broken.
        """

    @contextmanager
    def cache_lock(self) -> Iterator[None]:
        """Hold the data set's lock in the cache folder, so that one process prepares the data and
        the others wait.

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
    return DataError(
        f"runtime.cache={cache}: cannot write there ({error}); "
        "set runtime.cache=<a folder that you can write to, on a file system with locks>"
    )
