"""Load CIFAR-10 and CIFAR-100 by torchvision, with a download that cannot hang or leave damage."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from augean.datasets.base import Images, Source
from augean.downloads import download_timeout
from augean.errors import AugeanError, DataError


class Cifar10(Source):
    """CIFAR-10 (Krizhevsky 2009), 50,000 + 10,000 images of 32x32, read by torchvision.

    The data is `<root>/cifar-10-python.tar.gz` or the folder that it unpacks to; where there is
    neither, the archive is downloaded. torchvision checks the md5 of the archive and of every batch
    file, so the md5 of the archive identifies the data.
    """

    only_size = 32
    title = "CIFAR-10"
    dataset = "CIFAR10"
    """Name of torchvision's class."""
    archive = "cifar-10-python.tar.gz"
    folder = "cifar-10-batches-py"
    md5 = "c58f30108f718f92721af3b95e74349a"
    """md5 of the archive, which is also the digest of the data."""
    fixed_num_classes = 10

    def digest(self) -> str:
        return self.md5

    def is_here(self) -> bool:
        return (self.root / self.archive).exists() or (self.root / self.folder).is_dir()

    def count_train_images(self) -> int:
        return 50_000

    def load(self) -> Images:
        import torchvision  # here, as asking for a finished run must not load torch

        cls = getattr(torchvision.datasets, self.dataset)
        try:
            with warnings.catch_warnings():
                # NumPy 2.4.0 to 2.4.4 warn about the dtypes in the official pickles (numpy#31177).
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                train, test = self._read_or_download(cls)
        # From the cache lock, with a message of its own.
        except AugeanError:
            raise
        # Sockets, archives and torchvision raise many kinds; the remedy is always the same.
        except Exception as error:
            raise DataError(self._remedy(cls, error)) from error
        return Images(
            train_images=np.ascontiguousarray(train.data),  # [50000, 32, 32, 3]
            train_labels=np.asarray(train.targets, np.int64),
            test_images=np.ascontiguousarray(test.data),  # [10000, 32, 32, 3]
            test_labels=np.asarray(test.targets, np.int64),
            classes=tuple(train.classes),
        )

    def _read_or_download(self, cls: Any) -> tuple[Any, Any]:
        """Return torchvision's training and test set."""
        try:
            train = cls(self.root, train=True)
        except RuntimeError:  # torchvision's error for missing or damaged files
            # Another process may have downloaded it meanwhile: torchvision then downloads nothing.
            with self.cache_lock():
                self._download(cls)
            train = cls(self.root, train=True)
        return train, cls(self.root, train=False)

    def _download(self, cls: Any) -> None:
        """Download and unpack the archive.

        A truncated download is removed; an archive that was there before is the user's and stays.
        """
        archive = self.root / self.archive
        existed = archive.exists()
        try:
            with download_timeout():
                cls(self.root, train=True, download=True)
        finally:
            if not existed and self._is_damaged(archive, cls):
                archive.unlink()

    @staticmethod
    def _is_damaged(archive: Path, cls: Any) -> bool:
        """Return whether the archive exists with another md5 than the official one."""
        from torchvision.datasets.utils import check_integrity

        return archive.exists() and not check_integrity(archive, cls.tgz_md5)

    def _remedy(self, cls: Any, error: Exception) -> str:
        """Return the message of an error: what is wrong, and what a user can do about it."""
        archive = self.root / self.archive
        folder = self.root / self.folder
        # A complete folder would have been read, so a folder that is there is incomplete.
        damaged = []
        if folder.exists():
            damaged.append(str(folder))
        if self._is_damaged(archive, cls):
            damaged.append(str(archive))
        remove = ""
        if damaged:
            remove = f"remove {' and '.join(damaged)}, incomplete or damaged; "
        return (
            f"{self.title} is not complete in runtime.data={self.root} and cannot be downloaded"
            f" ({error}): {remove}put {self.archive} (from {cls.url}, md5 {self.md5}) into"
            f" {self.root}, or try Augean now with dataset=digits, which needs no download"
        )


class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine labels; all else as `Cifar10`."""

    title = "CIFAR-100"
    dataset = "CIFAR100"
    archive = "cifar-100-python.tar.gz"
    folder = "cifar-100-python"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    fixed_num_classes = 100
