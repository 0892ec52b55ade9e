"""The measurement of a loop: medians over its processes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from augean.benchmark.entry import LoopResult

FULL_EPOCHS = 35
"""Epochs of the run whose wall time is the goal: those of the course report."""
FULL_IMAGES = 50_000
"""Images of one epoch of that run: the whole training set of CIFAR-10."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One loop on one configuration: medians over repeats, with the fastest and slowest."""

    loop: str
    at_once: int
    """Processes that train at the same time; rates and memory are those of all together."""
    overrides: list[str]
    images_per_second: float
    """Median over all epochs except the first one of each process."""
    slowest: float
    """Images per second of the slowest epoch."""
    fastest: float
    first_step_seconds: float
    """From the start of the process to the end of its first step."""
    wall_seconds: float
    """From the start of the process to the end of its last epoch."""
    full_run_seconds: float
    """Wall time of 35 epochs of 50,000 images: measured where the benchmark had this size, else
    extrapolated from start time and rate.

    For several runs at once: the time until the last one ends, divided by their number."""
    peak_memory_mb: float
    """Memory of the device on CUDA, else resident memory of the process, its loader processes not
    counted."""
    share_of_matrix_rate: float
    """Operations of the training, as a fraction of what large matrix products reach."""
    epochs: int
    images: int
    repeats: int


def summarize(
    loop: str,
    overrides: Sequence[str],
    results: Sequence[LoopResult],
    *,
    images: int,
    flops_per_image: float,
    matrix_rate: float,
    at_once: int = 1,
) -> Measurement:
    """Return medians over the results of one loop.

    Args:
        images: of one epoch of one process.
        flops_per_image: operations of the training on one image.
        matrix_rate: operations per second that the device reaches.
        at_once: processes that each result stands for.
    """
    rates = _rates(results, images=at_once * images)
    rate = statistics.median(rates)
    epochs = len(results[0].epoch_seconds)
    wall_seconds = statistics.median(result.wall_seconds for result in results)
    # A benchmark of the full size has measured the full run; a smaller one is extrapolated.
    if (epochs, images) == (FULL_EPOCHS, FULL_IMAGES):
        full_run_seconds = wall_seconds
    else:
        # `rate` is that of all processes together, so one epoch of each has this time.
        start_seconds = _start_seconds(results, epoch_seconds=at_once * images / rate)
        full_run_seconds = start_seconds + at_once * FULL_EPOCHS * FULL_IMAGES / rate
    return Measurement(
        loop=loop,
        at_once=at_once,
        overrides=list(overrides),
        images_per_second=rate,
        slowest=min(rates),
        fastest=max(rates),
        first_step_seconds=statistics.median(result.first_step_seconds for result in results),
        wall_seconds=wall_seconds,
        full_run_seconds=full_run_seconds / at_once,  # for each of the runs
        peak_memory_mb=statistics.median(result.peak_memory_mb for result in results),
        share_of_matrix_rate=flops_per_image * rate / matrix_rate,
        epochs=epochs,
        images=images,
        repeats=len(results),
    )


def _rates(results: Sequence[LoopResult], images: int) -> list[float]:
    """Return the images per second of every epoch of every process.

    Args:
        images: of one epoch.
    """
    rates = []
    for result in results:
        # Without the first epoch, which includes compilation and graph capture.
        for seconds in result.epoch_seconds[1:]:
            rates.append(images / seconds)
    return rates


def _start_seconds(results: Sequence[LoopResult], epoch_seconds: float) -> float:
    """Return the median time of a process outside steady training, in seconds.

    It covers imports, data, compilation and graph capture, and the extra time of the first epoch.

    Args:
        epoch_seconds: time of a steady epoch.
    """
    # Wall time less all epochs at their steady speed; the first epoch counts as one of these.
    starts = []
    for result in results:
        until_second_epoch = result.wall_seconds - sum(result.epoch_seconds[1:])
        starts.append(until_second_epoch - epoch_seconds)
    # Noise can make a short start negative.
    return max(statistics.median(starts), 0.0)
