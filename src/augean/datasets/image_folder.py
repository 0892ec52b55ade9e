"""Images in folders, one folder a class, decoded once and cached."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EINVAL
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import Images, Source, cache_error
from augean.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Of the files that `ImageFolder` reads; upper case counts too. Others are ignored."""
DECODER = 1
"""Raised when the pixels that `ImageFolder` makes of a file change, so that no older cache is
read."""
POOL_BYTES = 4_000_000
"""Size of an image folder from which decoding it in several processes is faster than starting them
takes."""
logger = logging.getLogger(__name__)


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
    """Changes whenever a file may have changed: over path, size, mtime and ctime. The last one
    because unpacking an archive restores the others."""


_digests: dict[tuple[Path, Path], str] = {}
"""What this process has said an image folder contains, by folder and cache."""


class ImageFolder(Source):
    """`<root>/<name>/{train,test}/<class>/<image>`, the layout of torchvision's ImageFolder, once
    per split.

    Images become RGB; those that are not `image_size` square are resized by their shorter side
    (bilinear, antialiased) and cropped at the centre, which equals torchvision's Resize and
    CenterCrop. Transparency is dropped, orientation tags are ignored. Hidden files and files with
    other suffixes do not count.

    The digest is over the files' paths below the folder and their bytes. An index in the cache
    folder spares reading them again while no file changes; decoded images are kept there too, by
    digest and image size.
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
            raise DataError(
                f"{self.folder}: images have changed since this command started; start it again"
            )
        images, labels, num_train = (
            self._decoded(listing, digest),
            listing.labels,
            listing.num_train,
        )
        return Images(
            images[:num_train],
            labels[:num_train],
            images[num_train:],
            labels[num_train:],
            listing.classes,
        )

    def _layout_error(self, problem: str) -> DataError:
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected"
            f" {self.folder}/{{train,test}}/<class>/<image>, the same classes in both and images of"
            f" {', '.join(IMAGE_SUFFIXES)}; put them there, or set runtime.data=<the folder that"
            f" contains {self.name}>"
        )

    def _scan(self) -> _Listing:
        """List and stat all images: about 0.2 s for 60,000, which the digest costs when asked
        again.
        """
        stamps, where = hashlib.sha256(), self.folder
        classes: dict[str, tuple[str, ...]] = {}
        counts: dict[str, list[int]] = {"train": [], "test": []}
        paths: list[str] = []
        num_bytes = 0
        try:
            for part in counts:
                with os.scandir(self.folder / part) as entries:
                    names = [
                        entry.name
                        for entry in entries
                        if entry.is_dir() and not entry.name.startswith(".")
                    ]
                classes[part] = tuple(sorted(names))
                if foreign := [
                    name for name in names if os.fsencode(name).decode(errors="replace") != name
                ]:
                    raise self._layout_error(
                        f"the name of a class is no text: {foreign[0]!r} in {self.folder / part}"
                    )
                for name in classes[part]:
                    where = self.folder / part / name
                    files, numbers = _stat_images(where)
                    if not files:
                        raise self._layout_error(f"there is no image in {where}")
                    stamps.update(
                        repr((part, name, files)).encode()
                        + np.array(numbers, dtype=np.int64).tobytes()
                    )
                    counts[part].append(len(files))
                    paths += [f"{part}/{name}/{file}" for file in files]
                    num_bytes += sum(numbers[::3])
        except OSError as error:
            raise self._layout_error(
                f"cannot read {where / str(error.filename)} ({error.strerror})"
            ) from error
        if different := sorted(set(classes["train"]) ^ set(classes["test"])):
            raise self._layout_error(
                f"train and test do not both have the classes {', '.join(different)}"
            )
        if not paths:
            raise self._layout_error(f"there is no class folder in {self.folder / 'train'}")
        labels = np.concatenate(
            [np.repeat(np.arange(len(sizes)), sizes) for sizes in counts.values()]
        )
        num_train = sum(counts["train"])
        return _Listing(
            classes["train"],
            paths,
            labels.astype(np.int64),
            num_train,
            num_bytes,
            stamps.hexdigest(),
        )

    def _content_digest(self, listing: _Listing) -> str:
        index = self.cache / f"{self.name}.index.json"
        if known := _read_index(index, listing.fingerprint):
            return known
        with self.cache_lock():
            if known := _read_index(index, listing.fingerprint):  # by another process, meanwhile
                return known
            content = hashlib.sha256()
            for path in _progress(sorted(listing.paths), "Reading", self.name):
                try:
                    with open(
                        f"{self.folder}/{path}", "rb"
                    ) as image:  # half the time of Path.read_bytes
                        digest = hashlib.sha256(image.read()).hexdigest()
                except OSError as error:
                    raise DataError(
                        f"{self.folder / path}: cannot be read ({error.strerror})"
                    ) from error
                content.update(f"{path}\0{digest}\n".encode(errors="surrogateescape"))
            with _complete(index) as file:
                file.write(
                    json.dumps(_index_entry(listing.fingerprint, content.hexdigest())).encode()
                )
        return content.hexdigest()

    def _decoded(self, listing: _Listing, digest: str) -> NDArray[np.uint8]:
        """All images, [N, image_size, image_size, 3]: from the cache, or decoded and cached."""
        file_name = f"{self.name}-{digest[:16]}-{self.image_size}px-v{DECODER}.npz"
        files = [f"{self.folder}/{path}" for path in listing.paths]
        read = partial(
            _read_cache, self.cache / file_name, (len(files), self.image_size, self.image_size, 3)
        )
        if (images := read(warn=False)) is not None:
            return images
        with self.cache_lock():
            if (
                images := read(warn=True)
            ) is not None:  # another process has decoded them meanwhile
                return images
            images = self._decode(files, in_processes=listing.num_bytes > POOL_BYTES)
            if self._scan().fingerprint != listing.fingerprint:
                raise DataError(
                    f"{self.folder}: images have changed while they were read; start again"
                )
            with _complete(self.cache / file_name) as file:
                np.savez(file, images=images)
        return images

    def _decode(self, files: list[str], *, in_processes: bool) -> NDArray[np.uint8]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        chunks = [files[start : start + 64] for start in range(0, len(files), 64)]
        work = partial(decode_files, size=self.image_size)
        images = np.empty((len(files), self.image_size, self.image_size, 3), dtype=np.uint8)
        with ExitStack() as stack:
            results: Iterable[NDArray[np.uint8]] = map(work, chunks)
            if in_processes:
                # Processes, as small images hold the interpreter's lock: with 2 threads 10,000 of
                # them take longer than with 1 (0.89 s against 0.77 s), with 2 processes half as
                # long. Spawned, as torch may have threads that do not survive a fork.
                cores = (
                    len(os.sched_getaffinity(0))
                    if hasattr(os, "sched_getaffinity")
                    else os.cpu_count() or 1
                )
                pool = ProcessPoolExecutor(
                    min(len(chunks), cores, 16), mp_context=get_context("spawn")
                )
                results = stack.enter_context(pool).map(work, chunks)
            starts = range(0, len(files), 64)
            for start, chunk in zip(
                starts, _progress(results, "Decoding", self.name, len(chunks)), strict=True
            ):
                images[start : start + 64] = chunk
        return images


def _stat_images(folder: Path) -> tuple[list[str], list[int]]:
    """Sorted names of the images in a folder; size, mtime and ctime of each, one after the
    other.
    """
    directory = os.open(
        folder, os.O_RDONLY
    )  # stat by descriptor spares resolving the path 60,000 times
    try:
        names = sorted(
            name
            for name in os.listdir(directory)
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        )
        stats = [os.stat(name, dir_fd=directory) for name in names]
        for name, stat in zip(names, stats, strict=True):
            if not S_ISREG(stat.st_mode):  # a pipe or a device would be read for ever
                raise OSError(EINVAL, "is no file", name)
    finally:
        os.close(directory)
    return names, [
        number for stat in stats for number in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    ]


def _progress(
    items: Iterable[Any], verb: str, name: str, total: int | None = None
) -> Iterable[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(
        items, desc=f"{verb} {name}", total=total, unit_scale=True, leave=False, disable=None
    )
    return bar


@contextmanager
def _complete(path: Path) -> Iterator[BinaryIO]:
    """A file in the cache that appears under its name only once it is complete; call it with the
    cache lock held.

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
        part.unlink(missing_ok=True)  # it may be what fills the disk
        raise cache_error(path.parent, error) from error


def _read_index(path: Path, fingerprint: str) -> str | None:
    """The digest that belongs to a fingerprint, unless the index is missing, damaged or of another
    state.
    """
    try:
        entry = json.loads(path.read_bytes())
        return str(entry["digest"]) if entry == _index_entry(fingerprint, entry["digest"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _index_entry(fingerprint: str, digest: str) -> dict[str, str]:
    """A digest, sealed with the state of the files that it is of: with a flipped bit in it runs
    would get other ids.
    """
    return {
        "digest": digest,
        "seal": hashlib.sha256(f"{fingerprint} {digest}".encode()).hexdigest(),
    }


def _read_cache(path: Path, shape: tuple[int, ...], *, warn: bool) -> NDArray[np.uint8] | None:
    """Decoded images, or None when there are none or the file is damaged."""
    if not path.exists():
        return None
    try:
        # An npz file is a zip archive: reading a member to its end checks its CRC-32, at a third of
        # a sha256's time.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images: NDArray[np.uint8] = archive["images"]
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"{images.dtype}{list(images.shape)} instead of uint8{list(shape)}")
    except (
        Exception
    ) as error:  # a damaged archive can fail in every way that zipfile and NumPy know
        if warn:
            logger.warning("%s is damaged (%s); decoding the images again", path, error)
        return None
    return images


def decode_files(paths: list[str], size: int) -> NDArray[np.uint8]:
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
                raise ValueError(
                    f"mode {image.mode}: convert it to 8 bits per channel"
                )  # Pillow would clip it
            # By way of RGBA, as Pillow warns about palettes with transparency otherwise.
            rgb = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
        width, height = rgb.size
        if (width, height) != (size, size):
            shorter = min(width, height)
            width, height = size * width // shorter, size * height // shorter
            left, top = round((width - size) / 2), round((height - size) / 2)
            rgb = rgb.resize((width, height), Image.Resampling.BILINEAR).crop(
                (left, top, left + size, top + size)
            )
        return np.asarray(rgb)
    except Exception as error:  # Pillow's plugins raise far more than OSError on broken files
        raise DataError(
            f"{path}: is no image that can be read ({error}); replace or remove it"
        ) from error
