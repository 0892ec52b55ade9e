"""Measure what a device can do at best, and count the work of a training step."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from augean.benchmark.entry import NUM_CLASSES, synchronize
from augean.config.schema import Config
from augean.training.build import build_model
from augean.training.step import Inputs, batch_loss

MATRIX_SIZES = {"cpu": 3072, "cuda": 8192, "mps": 4096}
"""Rows and columns of the largest matrices that are multiplied, by type of device."""
MAX_SECONDS = 1.0
"""Longest time of one matrix product, in seconds."""
COPY_BYTES = {"cpu": 2**28, "cuda": 2**32, "mps": 2**30}
"""Size of the copy in bytes by type of device, far above the size of caches."""
REPEATS = 9
"""How often an action is timed."""


def least_seconds(action: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of an action in seconds.

    The shortest and not the mean, because other work of the machine can only lengthen it.
    """
    # The first call allocates memory and loads kernels; it is not timed.
    action()
    seconds = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        action()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a large square matrix product.

    A multiplication and an addition are two operations. The size doubles up to that of
    `MATRIX_SIZES`, and the best rate counts. It stops earlier where the next product would take
    more than `MAX_SECONDS`: a processor without bf16 arithmetic may need minutes for one.
    """
    largest = MATRIX_SIZES[device.type]
    best_rate = 0.0
    size = largest // 16  # takes milliseconds even where the data type is emulated
    while True:
        first = torch.randn(size, size, device=device).to(dtype)
        second = torch.randn(size, size, device=device).to(dtype)
        seconds = least_seconds(partial(torch.mm, first, second), device)
        # size**3 multiplications and as many additions
        best_rate = max(best_rate, 2 * size**3 / seconds)
        # Twice the size is eight times the work.
        seconds_of_next = 8 * seconds
        if size == largest or seconds_of_next > MAX_SECONDS:
            break
        size *= 2
    del first, second
    _free_memory(device)
    return best_rate


def copy_rate(device: torch.device) -> float:
    """Return the bytes per second of a large copy on the device, read and written ones added."""
    num_bytes = COPY_BYTES[device.type]
    if device.type == "cuda":
        # A copy has two ends, and other processes may take memory meanwhile.
        num_bytes = min(num_bytes, torch.cuda.mem_get_info(device)[0] // 4)
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    # Every byte is read once and written once.
    rate = 2 * num_bytes / least_seconds(partial(target.copy_, source), device)
    del source, target
    _free_memory(device)
    return rate


def _free_memory(device: torch.device) -> None:
    """Give the memory of freed tensors back: the loops are measured in other processes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def count_flops(config: Config, device: torch.device) -> int:
    """Return the operations of one step's forward and backward pass.

    A multiplication and an addition are two operations.
    """
    # A step on images of zeros: the operations depend on the shapes alone.
    network = build_model(config, NUM_CLASSES).to(device)
    batch_size = config.trainer.batch_size
    size = config.dataset.image_size
    images = torch.zeros(batch_size, 3, size, size, dtype=torch.uint8, device=device)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    inputs = Inputs(network, config, device)
    with FlopCounterMode(display=False) as counter:
        loss, _ = batch_loss(network, images, labels, inputs, config)
        loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
