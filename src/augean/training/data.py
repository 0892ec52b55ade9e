"""The splits of a data set: on the device, or on the host with batches copied ahead."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from operator import methodcaller
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from augean.datasets.base import ImageArray, LazyImages, Source
from augean.datasets.split import stratified_split
from augean.errors import DataError

MAX_MEMORY_SHARE = 0.4
"""Share of the free memory that a data set may take with `runtime.data_on=auto`. The network, its
activations and a padded copy of the training images need room, too."""
COPIED_AT_ONCE = 1024
"""Images that lie on the host on their way to the device."""
NUM_READ_AHEAD = 2
"""Batches that are read while the device works on one."""


@dataclass(frozen=True)
class Batch:
    """Images of one step, in one of two forms."""

    index: Tensor
    """int64 [B], positions in the split, on the device."""
    pixels: Tensor | None = None
    """uint8 [B, H, W, 3] on the device; None where all images of the split are there."""

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Split:
    """Images and labels of one split, on the device."""

    images: Tensor
    """uint8 [N, H, W, 3]."""
    labels: Tensor
    """int64 [N]."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        return self.images.shape[1]

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yield the images in an order, int64 [N] on the device."""
        for index in torch.split(order, batch_size):
            yield Batch(index)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images as they lie, uint8 [B, H, W, 3]."""
        yield from torch.split(self.images, batch_size)


@dataclass(frozen=True)
class HostSplit:
    """A split whose images stay on the host, in memory or in a mapped file.

    The batches are the same as those of a `Split`, bit for bit.
    """

    images: ImageArray
    """uint8 [N, H, W, 3]."""
    labels: Tensor
    """int64 [N], on the device."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        return self.images.shape[1]

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yield the images in an order, int64 [N] on the device.

        The next batches are read meanwhile.
        """
        indices = torch.split(order, batch_size)
        # The epoch's one wait for the device: the host has to know the order.
        on_host = torch.split(order.cpu(), batch_size)
        with closing(self._pixels(on_host)) as pixels:
            for index, images in zip(indices, pixels, strict=True):
                yield Batch(index, images)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images as they lie, uint8 [B, H, W, 3], on the device."""
        yield from self._pixels(torch.split(torch.arange(len(self)), batch_size))

    def _pixels(self, indices: Sequence[Tensor]) -> Generator[Tensor, None, None]:
        """Yield the images of each index, on the device; later ones are read ahead."""
        device = self.labels.device
        copy = _CopyToCuda(device) if device.type == "cuda" else methodcaller("to", device)
        pending: deque[Future[Tensor]] = deque()
        with ThreadPoolExecutor(max_workers=1) as reader:
            for index in indices:
                pending.append(reader.submit(self._read, index, device))
                if len(pending) > NUM_READ_AHEAD:
                    yield copy(pending.popleft().result())
            while pending:
                yield copy(pending.popleft().result())

    def _read(self, index: Tensor, device: torch.device) -> Tensor:
        """Return images in memory from which a GPU can copy while it computes."""
        shape = (len(index), *self.images.shape[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.images.take(index.numpy(), out=images.numpy())
        # After each batch: to read one image, Linux may map two megabytes of its file.
        self.images.release()
        return images


class _CopyToCuda:
    """Copies of host images to a GPU, on a stream of their own beside the computation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = _copy_stream(device)
        self.launched: deque[torch.cuda.Event] = deque()

    def __call__(self, images: Tensor) -> Tensor:
        current = torch.cuda.current_stream(self.device)
        # The host launches steps faster than the device computes them: without a wait, the batches
        # of all launched steps would lie in the device's memory.
        self.launched.append(current.record_event())
        if len(self.launched) > NUM_READ_AHEAD:
            self.launched.popleft().synchronize()
        with torch.cuda.stream(self.stream):
            copied = images.to(self.device, non_blocking=True)
        current.wait_stream(self.stream)
        # The memory belongs to the copying stream: it must not be used again while this one reads
        # it.
        copied.record_stream(current)
        return copied


@lru_cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all copies to a device.

    Memory that the allocator got for one stream is not used for another, so a new one an epoch
    would hold more and more of it.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


AnySplit = Split | HostSplit


@dataclass(frozen=True)
class Data:
    """The three splits; `val` is None where nothing is held out."""

    train: AnySplit
    val: AnySplit | None
    test: AnySplit
    classes: tuple[str, ...]

    @property
    def is_on_host(self) -> bool:
        return isinstance(self.train, HostSplit)


_loaded: dict[tuple[Source, int, int | None, int, torch.device, str], Data] = {}
"""What this process has loaded last, by the arguments of `load_data`: one entry at most."""


def load_data(
    source: Source,
    num_val: int,
    num_train: int | None,
    split_seed: int,
    device: torch.device,
    data_on: str = "auto",
) -> Data:
    """Load and split the images; runs of one process on the same data share the result.

    Args:
        device: where training takes place, and the labels are.
        data_on: "device"; "host"; or "auto", the device where they take at most `MAX_MEMORY_SHARE`
            of what is free there.

    Raises:
        DataError: when there is no training or no test image, the images have another size than
            `dataset.image_size`, or a label has no class; and as `Source.load`.
    """
    arguments = (source, num_val, num_train, split_seed, device, data_on)
    if arguments not in _loaded:
        # Before the other data is loaded: the memory may not hold both.
        _loaded.clear()
        _loaded[arguments] = _load_data(*arguments)
    return _loaded[arguments]


def _load_data(
    source: Source,
    num_val: int,
    num_train: int | None,
    split_seed: int,
    device: torch.device,
    data_on: str,
) -> Data:
    data_set = source.load_lazily()
    _check_data_set(source, data_set)
    train_index, val_index = stratified_split(
        data_set.train_labels, num_val=num_val, num_train=num_train, seed=split_seed
    )
    train_images = data_set.train_images.select(train_index)
    val_images = data_set.train_images.select(val_index)
    on_device = data_on == "device"
    if data_on == "auto":
        num_bytes = train_images.num_bytes + val_images.num_bytes + data_set.test_images.num_bytes
        on_device = _fits(num_bytes, device)

    def make_split(images: ImageArray, labels: NDArray[numpy.int64]) -> AnySplit:
        device_labels = torch.from_numpy(labels).to(device)
        if not on_device:
            return HostSplit(images, device_labels)
        return Split(_copy_to_device(images, device), device_labels)

    val = None
    if len(val_index):
        val = make_split(val_images, data_set.train_labels[val_index])
    return Data(
        train=make_split(train_images, data_set.train_labels[train_index]),
        val=val,
        test=make_split(data_set.test_images, data_set.test_labels),
        classes=tuple(data_set.classes),
    )


def _copy_to_device(images: ImageArray, device: torch.device) -> Tensor:
    """Return all images on the device, uint8 [N, H, W, 3].

    They are copied in parts, as the host may have less memory than the device.
    """
    on_device = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), COPIED_AT_ONCE):
        stop = min(start + COPIED_AT_ONCE, len(images))
        on_device[start:stop] = torch.from_numpy(images.take(numpy.arange(start, stop)))
        images.release()
    return on_device


def _check_data_set(source: Source, data_set: LazyImages) -> None:
    """Refuse what a user's own class must not load: the training would take it without a word."""
    size = source.image_size
    cls = type(source).__qualname__
    num_classes = len(data_set.classes)
    splits = {
        "training": (data_set.train_images, data_set.train_labels),
        "test": (data_set.test_images, data_set.test_labels),
    }
    for name, (images, labels) in splits.items():
        if not len(labels):
            raise DataError(
                f"dataset.name={source.name}: {cls} loads no {name} images; return at least one"
                " from its load"
            )
        height, width = images.shape[1:3]
        if (height, width) != (size, size):
            fix = f"resize them to {size}x{size} there"
            if height == width:
                fix += f", or set dataset.image_size={height}"
            raise DataError(
                f"dataset.image_size={size}: the {name} images that {cls} loads are"
                f" {height}x{width}; {fix}"
            )
        if not 0 <= labels.min() <= labels.max() < num_classes:
            raise DataError(
                f"dataset.name={source.name}: the {name} labels that {cls} loads are from"
                f" {labels.min()} to {labels.max()}; its {num_classes} classes need labels from 0"
                f" to {num_classes - 1}"
            )


def _fits(num_bytes: int, device: torch.device) -> bool:
    """Return whether a data set of that size may be on the device."""
    free = _free_bytes(device)
    return free is None or num_bytes <= MAX_MEMORY_SHARE * free


def _free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None where the system does not say."""
    if device.type == "cuda":
        # What torch keeps of earlier runs counts as used there, but is given out again.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        # "MemAvailable:   123456 kB", where kB means KiB
        if line.startswith("MemAvailable"):
            return 1024 * int(line.split()[1])
    return None
