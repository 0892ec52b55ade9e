"""Load Fashion-MNIST from files on the disk, or download it by torchvision."""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import Images, Source
from augean.downloads import download_timeout
from augean.errors import AugeanError, DataError

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""
IMAGES_OFFSET = 16
"""Bytes before the pixels in an IDX file of images."""
LABELS_OFFSET = 8
"""Bytes before the labels in an IDX file of labels."""
IDX_MAX_BYTES = 64 * 2**20
"""Most bytes that are read of a file, so that a damaged one cannot fill the memory. The largest of
the four has 47 million."""


class FashionMnist(Source):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), 60,000 + 10,000 grey images of 28x28.

    The images are padded with zeros to 32x32 and repeated over three channels, so that they fit the
    networks for CIFAR.

    The four files, compressed or not, are looked for in `<root>/FashionMNIST/raw` (where
    torchvision puts them), in `<root>/fashion-mnist` and in Debian's folder. If none of these holds
    all four, torchvision downloads them. The digest is of the decompressed content, so it does not
    depend on where the files come from; every load checks it.
    """

    only_size = 32
    content = "14410854cf7a289477dcfc7df3f8ec24741e281cdcc425ede0d9a748ca630214"
    """sha256 of the decompressed files, one after the other in the order of `files`."""
    files = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    fixed_num_classes = len(classes)

    def digest(self) -> str:
        return self.content

    def is_here(self) -> bool:
        return self._find_folder() is not None

    def read_classes(self) -> tuple[str, ...]:
        return self.classes

    def count_train_images(self) -> int:
        return 60_000

    def load(self) -> Images:
        folder = self._find_folder()
        if folder is None:
            with self.cache_lock():
                # Another process may have downloaded them while this one waited for the lock.
                folder = self._find_folder() or self._download()
        contents = [self._read(folder, name) for name in self.files]
        # Checked on every load: the run id names this digest without a look at the files.
        checksum = hashlib.sha256()
        for content in contents:
            checksum.update(content)
        digest = checksum.hexdigest()
        if digest != self.content:
            raise DataError(
                f"{folder}: is not the official Fashion-MNIST (sha256 of the decompressed files is"
                f" {digest[:12]}, not {self.content[:12]}); remove the files there, so that they"
                " are downloaded again"
            )
        # In the order of `files`.
        train_images, train_labels, test_images, test_labels = contents
        return Images(
            train_images=to_rgb32(_images(train_images)),
            train_labels=_labels(train_labels),
            test_images=to_rgb32(_images(test_images)),
            test_labels=_labels(test_labels),
            classes=self.classes,
        )

    def _folders(self) -> list[Path]:
        """Return the folders in which the files are looked for, in this order."""
        return [self.root / "FashionMNIST" / "raw", self.root / "fashion-mnist", SYSTEM_FOLDER]

    def _find_folder(self) -> Path | None:
        """Return the first folder that holds all four files; None where there is none."""
        for folder in self._folders():
            if all(_find_file(folder, name) for name in self.files):
                return folder
        return None

    def _read(self, folder: Path, name: str) -> bytes:
        """Return the decompressed content of a file, at most `IDX_MAX_BYTES`."""
        path = _find_file(folder, name)
        if path is None:
            raise DataError(f"{folder / name}: vanished while the data set was read; start again")
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                return file.read(IDX_MAX_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); remove it and start again"
            ) from error

    def _download(self) -> Path:
        """Download the files and return their folder."""
        import torchvision  # here, as asking for a finished run must not load torch

        try:
            with download_timeout():
                torchvision.datasets.FashionMNIST(self.root, download=True)
        except AugeanError:
            raise
        # Sockets, archives and torchvision raise many kinds; the remedy is always the same.
        except Exception as error:
            raise DataError(
                f"Fashion-MNIST is not in runtime.data={self.root} and cannot be downloaded"
                f" ({error}): put the four files {self.files[0]}.gz, ... into"
                f" {self.root / 'fashion-mnist'}, or install Debian's package"
                " dataset-fashion-mnist"
            ) from error
        return self.root / "FashionMNIST" / "raw"


def _find_file(folder: Path, name: str) -> Path | None:
    """Return the path of a file, plain or compressed; None where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _images(content: bytes) -> NDArray[np.uint8]:
    """Return the images in an IDX file, [N, 28, 28]; its checksum has proved what it is."""
    return np.frombuffer(content, np.uint8, offset=IMAGES_OFFSET).reshape(-1, 28, 28)


def _labels(content: bytes) -> NDArray[np.int64]:
    """Return the labels in an IDX file, [N]."""
    return np.frombuffer(content, np.uint8, offset=LABELS_OFFSET).astype(np.int64)


def to_rgb32(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad grey images with zeros and repeat them: [N, 28, 28] to [N, 32, 32, 3]."""
    # Two pixels on each of the four sides.
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return np.repeat(padded[..., None], 3, axis=3)
