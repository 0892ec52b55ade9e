"""The splits of a data set on the device."""

from dataclasses import dataclass
from functools import lru_cache

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from augean.datasets.base import Source
from augean.datasets.split import stratified_split


@dataclass(frozen=True)
class Split:
    """Images and labels of one split, on the device."""

    images: Tensor
    """uint8 [N, H, W, 3]."""
    labels: Tensor
    """int64 [N]."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """The three splits on the device; `val` is None where nothing is held out."""

    train: Split
    val: Split | None
    test: Split
    classes: tuple[str, ...]


@lru_cache(maxsize=1)
def load_data(
    source: Source, num_val: int, num_train: int | None, split_seed: int, device: torch.device
) -> Data:
    """Load, split and move to the device; runs of one process on the same data share the result."""
    images = source.load()
    train_index, val_index = stratified_split(
        images.train_labels, num_val=num_val, num_train=num_train, seed=split_seed
    )

    def on_device(pixels: NDArray[numpy.uint8], labels: NDArray[numpy.int64]) -> Split:
        return Split(torch.from_numpy(pixels).to(device), torch.from_numpy(labels).to(device))

    val = None
    if len(val_index):
        val = on_device(images.train_images[val_index], images.train_labels[val_index])
    return Data(
        train=on_device(images.train_images[train_index], images.train_labels[train_index]),
        val=val,
        test=on_device(images.test_images, images.test_labels),
        classes=tuple(images.classes),
    )
