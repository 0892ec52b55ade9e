"""Data sets: where images come from, as plain arrays, and the content digest that enters a run's id.

A `Source` costs nothing to construct and can say what its data is (`digest`) without decoding it, so that a finished
run is recognised in milliseconds. Nothing here imports torch; whatever is slow to import is imported where it is used.
A new data set is one subclass of `Source` and one YAML file.
"""

import hashlib
import json
import logging
import os
import socket
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from augean.errors import AugeanError, ConfigError, DataError

SPLITS = ("train", "test")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Of the files that `ImageFolder` reads; upper case counts too. Others are ignored."""
DECODER = 1
"""Raised when the pixels that `ImageFolder` makes of a file change, so that no older cache is read."""
POOL_BYTES = 4_000_000
"""Size of an image folder from which decoding it in several processes is faster than starting them takes."""
DOWNLOAD_TIMEOUT_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Raises:
        ValueError: when an array does not have the type or shape given below, or a label names no class.
    """

    train_images: NDArray[np.uint8]
    """[N, H, W, 3], 0 to 255"""
    train_labels: NDArray[np.int64]
    """[N], indices of `classes`"""
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for split in SPLITS:
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise ValueError(f"{split}_images: {images.dtype}{list(images.shape)}, must be uint8[N, H, W, 3]")
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                raise ValueError(f"{split}_labels: {labels.dtype}{list(labels.shape)}, must be int64[{len(images)}]")
            if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(self.classes):
                raise ValueError(f"{split}_labels: must name classes 0 to {len(self.classes) - 1}, at least one image")


class Source(ABC):
    """A data set that can be loaded; constructing it touches no disk.

    Args:
        name: `dataset.name`; the folder of an `ImageFolder`.
        root: `runtime.data`, the folder of the data sets.
        cache: `runtime.cache`, a folder for decoded images, indices and locks.
        image_size: height and width in pixels of the images that `load` returns.

    A subclass names what it takes from `dataset.arguments` as further keyword arguments.
    """

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int) -> None:
        self.name = name
        self.root = Path(root).absolute()
        self.cache = Path(cache).absolute()
        self.image_size = image_size

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
    def _cache_lock(self) -> Iterator[None]:
        """Hold the data set's lock in the cache folder, so that one process prepares the data and the others wait.

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
            raise _cache_error(self.cache, error) from error
        try:
            yield
        finally:
            lock.release()


def _cache_error(cache: Path, error: Exception) -> DataError:
    return DataError(
        f"runtime.cache={cache}: cannot write there ({error}); "
        "set runtime.cache=<a folder that you can write to, on a file system with locks>"
    )


def split(
    labels: NDArray[np.int64], *, num_val: int, num_train: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold images out for validation, and keep some or all of the rest for training, in the classes' proportions.

    Classes get their share by largest remainder (ties: the lower label), so that the totals are exact; a class may end
    up with none when there are fewer images than classes. The validation images do not depend on `num_train`, and
    smaller requests are served from the same order. It rests on PCG64's raw stream, which NumPy keeps unchanged across
    versions and platforms (NEP 19), and on integers.

    Args:
        labels: [N] of all training images.
        num_val: images held out, 0 to N-1.
        num_train: images kept of the remainder; None keeps all.
        seed: of the split alone.

    Returns:
        Ascending indices [num_train] and [num_val] into `labels`.

    Raises:
        ConfigError: when there are too few images.
    """
    total = len(labels)
    if not 0 <= num_val < total:
        raise ConfigError(
            f"dataset.num_val={num_val}: there are {total} training images and at least one must be left to train on; "
            f"set dataset.num_val to {max(total - 1, 0)} or less, for instance dataset.num_val={total // 10}"
        )
    left = total - num_val
    if num_train is not None and not 1 <= num_train <= left:
        raise ConfigError(
            f"dataset.num_train={num_train}: of {total} training images dataset.num_val={num_val} leaves {left}; "
            f"set dataset.num_train to 1 to {left}, or to null for all of them"
        )
    order = np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")
    groups = [order[labels[order] == label] for label in np.unique(labels)]
    val, rest = _share(groups, num_val)
    train = rest if num_train is None else _share(rest, num_train)[0]
    return np.sort(np.concatenate(train)).astype(np.int64), np.sort(np.concatenate(val)).astype(np.int64)


def _share(groups: list[NDArray[Any]], count: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """The first `count` members of the groups, in proportion to their sizes, and what is left of each."""
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    taken, remainder = np.divmod(count * sizes, sizes.sum())
    taken[np.argsort(-remainder, kind="stable")[: count - taken.sum()]] += 1
    pairs = list(zip(groups, taken, strict=True))
    return [group[:number] for group, number in pairs], [group[number:] for group, number in pairs]


class Cifar10(Source):
    """CIFAR-10 (Krizhevsky 2009), 50,000 + 10,000 images of 32x32, by way of torchvision.

    Needs `<root>/cifar-10-python.tar.gz` or the folder that it unpacks to; downloads it otherwise. torchvision checks
    the md5 of the archive and of every batch file, so the archive's md5 says what the data is.

    Raises:
        ConfigError: for another `image_size` than 32.
    """

    title, dataset = "CIFAR-10", "CIFAR10"
    archive, folder = "cifar-10-python.tar.gz", "cifar-10-batches-py"
    md5 = "c58f30108f718f92721af3b95e74349a"

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int = 32) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        if image_size != 32:
            raise ConfigError(f"dataset.image_size={image_size}: {self.title} has images of 32 pixels; set it to 32")

    def digest(self) -> str:
        return self.md5

    def load(self) -> Images:
        import torchvision

        cls = getattr(torchvision.datasets, self.dataset)
        try:
            with warnings.catch_warnings():
                # The official files were pickled by a NumPy whose dtypes NumPy 2.4 warns about.
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                try:
                    train = cls(self.root, train=True)
                except RuntimeError:  # missing or damaged
                    with self._cache_lock():
                        self._download(cls)
                    train = cls(self.root, train=True)
                test = cls(self.root, train=False)
        except AugeanError:
            raise
        except Exception as error:  # whatever sockets, archives and torchvision raise, the remedy is the same
            raise DataError(self._remedy(cls.url, error)) from error
        return Images(
            train_images=np.ascontiguousarray(train.data),
            train_labels=np.asarray(train.targets, dtype=np.int64),
            test_images=np.ascontiguousarray(test.data),
            test_labels=np.asarray(test.targets, dtype=np.int64),
            classes=tuple(train.classes),
        )

    def _download(self, cls: Any) -> None:
        """Fetch and unpack the archive; an incomplete one is not left behind, a file put there by the user stays."""
        archive, timeout = self.root / self.archive, socket.getdefaulttimeout()
        before = _stamp(archive)
        # torchvision sets none, and a firewall that drops packets would hold a run for minutes.
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
        try:
            cls(self.root, train=True, download=True)
        except BaseException:
            if _stamp(archive) not in (None, before) and _md5(archive) != cls.tgz_md5:
                archive.unlink()
            raise
        finally:
            socket.setdefaulttimeout(timeout)

    def _remedy(self, url: str, error: Exception) -> str:
        archive, folder = self.root / self.archive, self.root / self.folder
        damaged = [f"{path} is incomplete or damaged: remove it, then" for path in (folder, archive) if path.exists()]
        return (
            f"{self.title} is not complete in runtime.data={self.root} and cannot be downloaded ({error}). "
            f"{' '.join([*damaged, 'put'])} {self.archive} (from {url}, md5 {self.md5}) into {self.root}, "
            "or try Augean now with dataset=digits, which needs no download."
        )


class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine labels; all else as `Cifar10`."""

    title, dataset = "CIFAR-100", "CIFAR100"
    archive, folder = "cifar-100-python.tar.gz", "cifar-100-python"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


class Digits(Source):
    """scikit-learn's 1,797 real handwritten digits (UCI, Alpaydin and Kaynak 1998), inside the installation.

    8x8 grey values of 0 to 16 become RGB of 0 to 255; each pixel is repeated to reach `image_size`. A fixed stratified
    split, as the data has none of its own, gives 1,497 training and 300 test images.

    Raises:
        ConfigError: when `image_size` is no multiple of 8.
    """

    num_test = 300
    content = "8497f9b6c7c34cc9c050aace804d86b0d8124703d789ff723ecc5a33ee5d3fea"
    """sha256 over the grey values and labels of both splits; checked on every load."""

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int = 16) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        if image_size % 8:
            raise ConfigError(f"dataset.image_size={image_size}: digits have 8 pixels; set a multiple of 8, such as 16")

    def digest(self) -> str:
        return self.content

    def load(self) -> Images:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)  # [1797, 8, 8], [1797]
        parts = split(labels, num_val=self.num_test, num_train=None, seed=0)
        content = hashlib.sha256()
        for index in parts:
            content.update(grey[index].tobytes() + labels[index].astype("<i8").tobytes())
        if content.hexdigest() != self.content:
            raise DataError(
                "dataset=digits: this scikit-learn has other digits than the ones that Augean's run ids stand for "
                f"({content.hexdigest()}); install scikit-learn 1.9"
            )
        scale = self.image_size // 8
        levels = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)  # of grey values 0 to 16
        images = levels[grey].repeat(scale, axis=1).repeat(scale, axis=2)[..., None].repeat(3, axis=3)
        train, test = parts
        return Images(
            images[train], labels[train], images[test], labels[test], tuple(str(digit) for digit in range(10))
        )


class Synthetic(Source):
    """Generated images for tests and timing: a smooth coloured pattern per class under uniform noise.

    All arithmetic is on integers, so that the pixels are the same everywhere.

    Args:
        num_train_images: training images, as evenly divided among the classes as they can be.
        num_test_images: test images, divided likewise.
        num_classes: at least 2.
        noise: largest deviation of a value from its pattern, as a share of the range 0 to 255. Classes are told apart
            easily at the default.
        generator_seed: of patterns, labels and noise.

    Raises:
        ConfigError: for arguments of the wrong type or out of range.
    """

    version = 1

    def __init__(
        self,
        *,
        name: str,
        root: Path,
        cache: Path,
        image_size: int = 32,
        num_train_images: int = 5000,
        num_test_images: int = 1000,
        num_classes: int = 10,
        noise: float = 0.4,
        generator_seed: int = 0,
    ) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        counts = {
            "num_train_images": (num_train_images, 1),
            "num_test_images": (num_test_images, 1),
            "num_classes": (num_classes, 2),
            "generator_seed": (generator_seed, 0),
        }
        for key, (value, low) in counts.items():
            if type(value) is not int or value < low:
                raise ConfigError(f"dataset.arguments.{key}={value}: must be a whole number of at least {low}")
        if type(noise) not in (int, float) or not 0 <= noise <= 1:
            raise ConfigError(f"dataset.arguments.noise={noise}: must be a number from 0 to 1")
        self.counts = (num_train_images, num_test_images)
        self.num_classes = num_classes
        self.noise = round(noise * 255)
        self.generator_seed = generator_seed

    def digest(self) -> str:
        numbers = (*self.counts, self.num_classes, self.noise, self.generator_seed, self.image_size)
        return f"synthetic-v{self.version}-" + "-".join(str(number) for number in numbers)

    def load(self) -> Images:
        generator = np.random.Generator(np.random.PCG64(self.generator_seed))
        patterns = self._patterns(generator.integers(64, 192, (self.num_classes, 4, 4, 3)))
        train, test = (self._draw(generator, patterns, count) for count in self.counts)
        return Images(*train, *test, tuple(f"class_{label}" for label in range(self.num_classes)))

    def _draw(
        self, generator: np.random.Generator, patterns: NDArray[np.int16], count: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        labels = generator.permutation(np.arange(count, dtype=np.int64) % self.num_classes)
        images = np.empty((count, self.image_size, self.image_size, 3), dtype=np.uint8)
        for start in range(0, count, 1024):  # the noise of all images at once would need twice their memory
            chunk = patterns[labels[start : start + 1024]]
            noise = generator.integers(-self.noise, self.noise, chunk.shape, dtype=np.int16, endpoint=True)
            images[start : start + 1024] = np.clip(chunk + noise, 0, 255)
        return images, labels

    def _patterns(self, coarse: NDArray[np.int64]) -> NDArray[np.int16]:
        """Colours at 4x4 points, [K, 4, 4, 3], interpolated linearly to [K, image_size, image_size, 3]."""
        steps = self.image_size - 1
        rows = np.arange(self.image_size)
        left, share = np.divmod(rows * 3, steps)
        weights = np.zeros((self.image_size, 5), dtype=np.int64)
        weights[rows, left], weights[rows, left + 1] = steps - share, share
        weights = weights[:, :4]  # the fifth has no weight: it only gives the last row a right-hand neighbour
        patterns: NDArray[np.int64] = np.einsum("ri,sj,kijc->krsc", weights, weights, coarse) // steps**2
        return patterns.astype(np.int16)


@dataclass(frozen=True)
class _Listing:
    """The image files of a folder, without their content."""

    classes: tuple[str, ...]
    files: dict[str, list[list[str]]]
    """Per split and class the sorted file names."""
    num_bytes: int
    fingerprint: str
    """Changes whenever a file may have changed: over path, size, mtime and ctime. The last one because unpacking an
    archive restores the others."""

    def paths(self, part: str) -> list[str]:
        """Paths such as train/cat/1.png, by class, then name."""
        names = zip(self.classes, self.files[part], strict=True)
        return [f"{part}/{name}/{file}" for name, files in names for file in files]

    def labels(self, part: str) -> NDArray[np.int64]:
        """Label of each path."""
        return np.repeat(np.arange(len(self.classes), dtype=np.int64), [len(files) for files in self.files[part]])


_digests: dict[tuple[Path, Path], str] = {}
"""What this process has said an image folder contains, by folder and cache."""


class ImageFolder(Source):
    """`<root>/<name>/{train,test}/<class>/<image>`, the layout of torchvision's ImageFolder, once per split.

    Images become RGB; those that are not `image_size` square are resized by their shorter side (bilinear,
    antialiased) and cropped at the centre, which equals torchvision's Resize and CenterCrop. Transparency is dropped,
    orientation tags are ignored. Hidden files and files with other suffixes do not count.

    The digest is over the files' paths below the folder and their bytes. An index in the cache folder spares reading
    them again while no file changes; decoded images are kept there too, by digest and image size.
    """

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int = 32) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        self.folder = self.root / name

    def digest(self) -> str:
        key = (self.folder, self.cache)
        if key not in _digests:
            _digests[key] = self._content_digest(self._scan())
        return _digests[key]

    def load(self) -> Images:
        listing = self._scan()
        digest = self._content_digest(listing)
        if _digests.setdefault((self.folder, self.cache), digest) != digest:
            raise DataError(f"{self.folder}: images have changed since this command started; start it again")
        images = self._decoded(listing, digest)  # training images before test images
        train, test = listing.labels("train"), listing.labels("test")
        return Images(images[: len(train)], train, images[len(train) :], test, listing.classes)

    def _layout_error(self, problem: str) -> DataError:
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected {self.folder}/{{train,test}}/<class>/<image>, the same "
            f"classes in both and images of {', '.join(IMAGE_SUFFIXES)}; put them there, or set "
            f"runtime.data=<the folder that contains {self.name}>"
        )

    def _scan(self) -> _Listing:
        """List and stat all images: about 0.2 s for 60,000, which the digest costs when asked again."""
        stamps, num_bytes, where = hashlib.sha256(), 0, self.folder
        classes: dict[str, tuple[str, ...]] = {}
        files: dict[str, list[list[str]]] = {part: [] for part in SPLITS}
        try:
            for part in SPLITS:
                with os.scandir(self.folder / part) as entries:
                    names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
                classes[part] = tuple(sorted(names))
                for name in classes[part]:
                    where = self.folder / part / name
                    images, numbers = _stat_images(where)
                    if not images:
                        raise self._layout_error(f"there is no image in {where}")
                    files[part].append(images)
                    stamps.update(repr((part, name, images)).encode() + np.array(numbers, dtype=np.int64).tobytes())
                    num_bytes += sum(numbers[::3])
        except OSError as error:
            raise self._layout_error(f"cannot read {where / str(error.filename)} ({error.strerror})") from error
        if different := sorted(set(classes["train"]) ^ set(classes["test"])):
            raise self._layout_error(f"train and test do not both have the classes {', '.join(different)}")
        if not classes["train"]:
            raise self._layout_error(f"there is no class folder in {self.folder / 'train'}")
        return _Listing(classes["train"], files, num_bytes, stamps.hexdigest())

    def _content_digest(self, listing: _Listing) -> str:
        index = self.cache / f"{self.name}.index.json"
        if known := _read_index(index, listing.fingerprint):
            return known
        with self._cache_lock():
            if known := _read_index(index, listing.fingerprint):  # by another process, meanwhile
                return known
            content = hashlib.sha256()
            paths = sorted(path for part in SPLITS for path in listing.paths(part))
            for path in _progress(paths, "Reading", self.name):
                try:
                    with open(f"{self.folder}/{path}", "rb") as image:  # half the time of Path.read_bytes
                        digest = hashlib.sha256(image.read()).hexdigest()
                except OSError as error:
                    raise DataError(f"{self.folder / path}: cannot be read ({error.strerror})") from error
                content.update(f"{path}\0{digest}\n".encode(errors="surrogateescape"))
            with _complete(index) as file:
                file.write(json.dumps({"fingerprint": listing.fingerprint, "digest": content.hexdigest()}).encode())
        return content.hexdigest()

    def _decoded(self, listing: _Listing, digest: str) -> NDArray[np.uint8]:
        """All images, [N, image_size, image_size, 3]: from the cache, or decoded and cached."""
        file_name = f"{self.name}-{digest[:16]}-{self.image_size}px-v{DECODER}.npz"
        files = [f"{self.folder}/{path}" for part in SPLITS for path in listing.paths(part)]
        read = partial(_read_cache, self.cache / file_name, (len(files), self.image_size, self.image_size, 3))
        if (images := read(warn=False)) is not None:
            return images
        with self._cache_lock():
            if (images := read(warn=True)) is not None:  # another process has decoded them meanwhile
                return images
            images = self._decode(files, in_processes=listing.num_bytes > POOL_BYTES)
            if self._scan().fingerprint != listing.fingerprint:
                raise DataError(f"{self.folder}: images have changed while they were read; start again")
            with _complete(self.cache / file_name) as file:
                np.savez(file, images=images)
        return images

    def _decode(self, files: list[str], *, in_processes: bool) -> NDArray[np.uint8]:
        from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
        from multiprocessing import get_context

        chunks = [files[start : start + 64] for start in range(0, len(files), 64)]
        work = partial(_decode_files, size=self.image_size)
        images = np.empty((len(files), self.image_size, self.image_size, 3), dtype=np.uint8)
        done = 0
        with ExitStack() as stack:
            results: Iterable[NDArray[np.uint8]] = map(work, chunks)
            if in_processes:
                # Processes, as small images hold the interpreter's lock: with 2 threads 10,000 of them take longer
                # than with 1 (0.89 s against 0.77 s), with 2 processes half as long. Spawned, as torch may have
                # threads that do not survive a fork.
                workers = min(len(chunks), _num_cores(), 16)
                pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
                results = stack.enter_context(pool).map(work, chunks)
            try:
                for chunk in _progress(results, "Decoding", self.name, total=len(chunks)):
                    images[done : done + len(chunk)] = chunk
                    done += len(chunk)
            except BrokenProcessPool as error:
                raise DataError(
                    f"{self.folder}: a process that decodes images has died; is there enough memory, and does the "
                    'script that called start with `if __name__ == "__main__":`?'
                ) from error
        return images


def _stat_images(folder: Path) -> tuple[list[str], list[int]]:
    """Sorted names of the images in a folder; size, mtime and ctime of each, one after the other."""
    directory = os.open(folder, os.O_RDONLY)  # stat by descriptor spares resolving the path 60,000 times
    try:
        names = sorted(
            name for name in os.listdir(directory) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        )
        numbers = [
            number
            for name in names
            for status in [os.stat(name, dir_fd=directory)]
            for number in (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        ]
    finally:
        os.close(directory)
    return names, numbers


def _num_cores() -> int:
    """Cores that this process may use, which a batch system makes fewer than the machine has; macOS cannot tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(items: Iterable[Any], verb: str, name: str, total: int | None = None) -> Iterable[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(items, desc=f"{verb} {name}", total=total, unit_scale=True, leave=False, disable=None)
    return bar


@contextmanager
def _complete(path: Path) -> Iterator[BinaryIO]:
    """A file in the cache that appears under its name only once it is complete; call it with the cache lock held.

    Raises:
        DataError: when the folder cannot be written.
    """
    # The name is always the same, so that what a killed process leaves is overwritten by the next.
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        raise _cache_error(path.parent, error) from error


def _read_index(path: Path, fingerprint: str) -> str | None:
    """The digest that belongs to a fingerprint, unless the index is missing, damaged or of another state."""
    try:
        entry = json.loads(path.read_bytes())
        return str(entry["digest"]) if entry["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_cache(path: Path, shape: tuple[int, ...], *, warn: bool) -> NDArray[np.uint8] | None:
    """Decoded images, or None when there are none or the file is damaged."""
    if not path.exists():
        return None
    try:
        # An npz file is a zip archive: reading a member to its end checks its CRC-32, at a third of a sha256's time.
        with np.load(path, allow_pickle=False) as archive:
            images: NDArray[np.uint8] = archive["images"]
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"{images.dtype}{list(images.shape)} instead of uint8{list(shape)}")
    except Exception as error:  # a damaged archive can fail in every way that zipfile and NumPy know
        if warn:
            logger.warning("%s is damaged (%s); decoding the images again", path, error)
        return None
    return images


def _decode_files(paths: list[str], size: int) -> NDArray[np.uint8]:
    return np.stack([_decode_file(path, size) for path in paths])


def _decode_file(path: str, size: int) -> NDArray[np.uint8]:
    """One image as [size, size, 3].

    Raises:
        DataError: with the path, for whatever is wrong with the file.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"mode {image.mode}: convert it to 8 bits per channel")  # Pillow would clip it
            # By way of RGBA, as Pillow warns about palettes with transparency otherwise.
            rgb = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
        width, height = rgb.size
        if (width, height) != (size, size):
            shorter = min(width, height)
            width, height = size * width // shorter, size * height // shorter
            left, top = round((width - size) / 2), round((height - size) / 2)
            rgb = rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
        return np.asarray(rgb)
    except Exception as error:  # Pillow's plugins raise far more than OSError on broken files
        raise DataError(f"{path}: is no image that can be read ({error}); replace or remove it") from error
