"""CIFAR-10 and CIFAR-100 by way of torchvision."""

import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from augean.datasets.base import Images, Source
from augean.errors import AugeanError, DataError

DOWNLOAD_TIMEOUT_SECONDS = 30.0


class Cifar10(Source):
    """CIFAR-10 (Krizhevsky 2009), 50,000 + 10,000 images of 32x32, by way of torchvision.

    Needs `<root>/cifar-10-python.tar.gz` or the folder that it unpacks to; downloads it otherwise.
    torchvision checks the md5 of the archive and of every batch file, so the archive's md5 says
    what the data is.
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
                    with self.cache_lock():
                        self._download(cls)
                    train = cls(self.root, train=True)
                test = cls(self.root, train=False)
        except AugeanError:
            raise
        except (
            Exception
        ) as error:  # whatever sockets, archives and torchvision raise, the remedy is the same
            raise DataError(self._remedy(cls, error)) from error
        arrays = [
            (np.ascontiguousarray(part.data), np.asarray(part.targets, np.int64))
            for part in (train, test)
        ]
        return Images(*arrays[0], *arrays[1], tuple(train.classes))

    def _download(self, cls: Any) -> None:
        """Fetch and unpack the archive; no truncated one is left behind, but a file that was there
        before stays.
        """
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
            f"{self.title} is not complete in runtime.data={self.root} and cannot be downloaded"
            f" ({error}): "
            + (f"remove {' and '.join(damaged)}, incomplete or damaged; " if damaged else "")
            + f"put {self.archive} (from {cls.url}, md5 {self.md5}) into {self.root}, "
            "or try Augean now with dataset=digits, which needs no download"
        )


class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine labels; all else as `Cifar10`."""

    title, dataset = "CIFAR-100", "CIFAR100"
    archive, folder = "cifar-100-python.tar.gz", "cifar-100-python"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"
