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
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            kinds = f"{images.dtype}{list(images.shape)}, {labels.dtype}{list(labels.shape)}"
            if kinds != f"uint8{[len(labels), *images.shape[1:3], 3]}, int64[{len(labels)}]":
                raise ValueError(f"images and labels are {kinds}, must be uint8[N, H, W, 3], int64[N]")


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
                f"dataset.image_size={image_size}: the images of {type(self).__name__} are not resized; "
                f"set dataset.image_size={self.only_size}"
            )
        self.name = name
        self.root = Path(root).expanduser().absolute()
        self.cache = Path(cache).expanduser().absolute()
        self.image_size = image_size

    def __eq__(self, other: object) -> bool:
        """Sources of the same images are equal, so that runs of one process share what was loaded."""
        return (
            isinstance(other, Source)
            and (type(self), self.image_size, self.digest()) == (type(other), other.image_size, other.digest())
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
    """

    only_size = 32
    title, dataset = "CIFAR-10", "CIFAR10"
    archive, folder = "cifar-10-python.tar.gz", "cifar-10-batches-py"
    md5 = "c58f30108f718f92721af3b95e74349a"

    def digest(self) -> str:
        return self.md5

    def load(self) -> Images:
        import torchvision

        cls = getattr(torchvision.datasets, self.dataset)
        try:
            with warnings.catch_warnings():
                # NumPy 2.4.0 to 2.4.4 warn about the dtypes in the official pickles (numpy#31177).
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
            raise DataError(self._remedy(cls, error)) from error
        arrays = [(np.ascontiguousarray(part.data), np.asarray(part.targets, np.int64)) for part in (train, test)]
        return Images(*arrays[0], *arrays[1], tuple(train.classes))

    def _download(self, cls: Any) -> None:
        """Fetch and unpack the archive; no truncated one is left behind, but a file that was there before stays."""
        archive, timeout = self.root / self.archive, socket.getdefaulttimeout()
        existed = archive.exists()
        # torchvision sets none, and a firewall that drops packets would hold a run for minutes.
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
        try:
            cls(self.root, train=True, download=True)
        finally:
            socket.setdefaulttimeout(timeout)
            if not existed and self._is_damaged(archive, cls):
                archive.unlink()

    @staticmethod
    def _is_damaged(archive: Path, cls: Any) -> bool:
        from torchvision.datasets.utils import check_integrity

        return archive.exists() and not check_integrity(archive, cls.tgz_md5)

    def _remedy(self, cls: Any, error: Exception) -> str:
        archive, folder = self.root / self.archive, self.root / self.folder
        damaged = [str(folder)] * folder.exists() + [str(archive)] * self._is_damaged(archive, cls)
        return (
            f"{self.title} is not complete in runtime.data={self.root} and cannot be downloaded ({error}): "
            + (f"remove {' and '.join(damaged)}, incomplete or damaged; " if damaged else "")
            + f"put {self.archive} (from {cls.url}, md5 {self.md5}) into {self.root}, "
            "or try Augean now with dataset=digits, which needs no download"
        )


class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine labels; all else as `Cifar10`."""

    title, dataset = "CIFAR-100", "CIFAR100"
    archive, folder = "cifar-100-python.tar.gz", "cifar-100-python"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"


class Digits(Source):
    """scikit-learn's 1,797 real handwritten digits (UCI, Alpaydin and Kaynak 1998), inside the installation.

    8x8 grey values of 0 to 16 become 16x16 pixels of RGB from 0 to 255, each value four times. A fixed stratified
    split, as the data has none of its own, gives 1,497 training and 300 test images.
    """

    only_size = 16
    num_test = 300
    content = "8497f9b6c7c34cc9c050aace804d86b0d8124703d789ff723ecc5a33ee5d3fea"
    """sha256 over the grey values and labels of both splits; checked on every load."""

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
        levels = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)  # of grey values 0 to 16
        images = levels[grey].repeat(2, axis=1).repeat(2, axis=2)[..., None].repeat(3, axis=3)
        train, test = parts
        return Images(images[train], labels[train], images[test], labels[test], tuple("0123456789"))


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
        numbers = (num_train_images, num_test_images, num_classes, generator_seed)
        names = ("num_train_images", "num_test_images", "num_classes", "generator_seed")
        for key, value, low in zip(names, numbers, (1, 1, 2, 0), strict=True):
            if type(value) is not int or value < low:
                raise ConfigError(f"dataset.arguments.{key}={value}: must be a whole number of at least {low}")
        if type(noise) not in (int, float) or not 0 <= noise <= 1:
            raise ConfigError(f"dataset.arguments.noise={noise}: must be a number from 0 to 1")
        self.numbers = (*numbers, round(noise * 255))

    def digest(self) -> str:
        return "-".join(str(part) for part in ("synthetic", f"v{self.version}", self.image_size, *self.numbers))

    def load(self) -> Images:
        num_train, num_test, num_classes, seed, noise = self.numbers
        generator = np.random.Generator(np.random.PCG64(seed))
        # Colours at 4x4 points, interpolated linearly: point j has weight max(0, 1 - |3 r / steps - j|) in row r.
        steps = self.image_size - 1
        distances = np.abs(3 * np.arange(self.image_size)[:, None] - steps * np.arange(4))
        weights = np.maximum(steps - distances, 0)  # [image_size, 4], times steps
        points = generator.integers(64, 192, (num_classes, 4, 4, 3))
        patterns = (np.einsum("ri,sj,kijc->krsc", weights, weights, points) // steps**2).astype(np.int16)
        arrays = []
        for count in (num_train, num_test):
            labels = generator.permutation(np.arange(count, dtype=np.int64) % num_classes)
            images = patterns[labels]  # [count, image_size, image_size, 3]
            images += generator.integers(-noise, noise, images.shape, dtype=np.int16, endpoint=True)
            arrays.append((images.clip(0, 255).astype(np.uint8), labels))
        return Images(*arrays[0], *arrays[1], tuple(f"class_{label}" for label in range(num_classes)))


@dataclass(frozen=True)
class _Listing:
    """The image files of a folder, without their content."""

    classes: tuple[str, ...]
    paths: list[str]
    """Such as train/cat/1.png: training before test, by class, then name."""
    labels: NDArray[np.int64]
    """Of each path."""
    num_train: int
    num_bytes: int
    fingerprint: str
    """Changes whenever a file may have changed: over path, size, mtime and ctime. The last one because unpacking an
    archive restores the others."""


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

    def __init__(self, *, name: str, root: Path, cache: Path, image_size: int) -> None:
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
        images, labels, num_train = self._decoded(listing, digest), listing.labels, listing.num_train
        return Images(images[:num_train], labels[:num_train], images[num_train:], labels[num_train:], listing.classes)

    def _layout_error(self, problem: str) -> DataError:
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected {self.folder}/{{train,test}}/<class>/<image>, the same "
            f"classes in both and images of {', '.join(IMAGE_SUFFIXES)}; put them there, or set "
            f"runtime.data=<the folder that contains {self.name}>"
        )

    def _scan(self) -> _Listing:
        """List and stat all images: about 0.2 s for 60,000, which the digest costs when asked again."""
        stamps, where = hashlib.sha256(), self.folder
        classes: dict[str, tuple[str, ...]] = {}
        counts: dict[str, list[int]] = {"train": [], "test": []}
        paths: list[str] = []
        num_bytes = 0
        try:
            for part in counts:
                with os.scandir(self.folder / part) as entries:
                    names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
                classes[part] = tuple(sorted(names))
                for name in classes[part]:
                    where = self.folder / part / name
                    files, numbers = _stat_images(where)
                    if not files:
                        raise self._layout_error(f"there is no image in {where}")
                    stamps.update(repr((part, name, files)).encode() + np.array(numbers, dtype=np.int64).tobytes())
                    counts[part].append(len(files))
                    paths += [f"{part}/{name}/{file}" for file in files]
                    num_bytes += sum(numbers[::3])
        except OSError as error:
            raise self._layout_error(f"cannot read {where / str(error.filename)} ({error.strerror})") from error
        if different := sorted(set(classes["train"]) ^ set(classes["test"])):
            raise self._layout_error(f"train and test do not both have the classes {', '.join(different)}")
        if not paths:
            raise self._layout_error(f"there is no class folder in {self.folder / 'train'}")
        labels = np.concatenate([np.repeat(np.arange(len(sizes)), sizes) for sizes in counts.values()])
        num_train = sum(counts["train"])
        return _Listing(classes["train"], paths, labels.astype(np.int64), num_train, num_bytes, stamps.hexdigest())

    def _content_digest(self, listing: _Listing) -> str:
        index = self.cache / f"{self.name}.index.json"
        if known := _read_index(index, listing.fingerprint):
            return known
        with self._cache_lock():
            if known := _read_index(index, listing.fingerprint):  # by another process, meanwhile
                return known
            content = hashlib.sha256()
            for path in _progress(sorted(listing.paths), "Reading", self.name):
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
        files = [f"{self.folder}/{path}" for path in listing.paths]
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
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        chunks = [files[start : start + 64] for start in range(0, len(files), 64)]
        work = partial(_decode_files, size=self.image_size)
        images = np.empty((len(files), self.image_size, self.image_size, 3), dtype=np.uint8)
        with ExitStack() as stack:
            results: Iterable[NDArray[np.uint8]] = map(work, chunks)
            if in_processes:
                # Processes, as small images hold the interpreter's lock: with 2 threads 10,000 of them take longer
                # than with 1 (0.89 s against 0.77 s), with 2 processes half as long. Spawned, as torch may have
                # threads that do not survive a fork.
                cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
                pool = ProcessPoolExecutor(min(len(chunks), cores, 16), mp_context=get_context("spawn"))
                results = stack.enter_context(pool).map(work, chunks)
            starts = range(0, len(files), 64)
            for start, chunk in zip(starts, _progress(results, "Decoding", self.name, len(chunks)), strict=True):
                images[start : start + 64] = chunk
        return images


def _stat_images(folder: Path) -> tuple[list[str], list[int]]:
    """Sorted names of the images in a folder; size, mtime and ctime of each, one after the other."""
    directory = os.open(folder, os.O_RDONLY)  # stat by descriptor spares resolving the path 60,000 times
    try:
        names = sorted(
            name for name in os.listdir(directory) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        )
        stats = [os.stat(name, dir_fd=directory) for name in names]
    finally:
        os.close(directory)
    return names, [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)]


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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
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
