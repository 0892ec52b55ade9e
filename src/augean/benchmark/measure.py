"""Measure the throughput of the training core beside other loops, and its share of the peak rate.

Each measurement is a process of its own, timed from its start. So imports, compilation and graph
capture count, and no measurement changes the state of another. The loops themselves are scripts:
`augean.benchmark.core_loop` here, the ordinary and the expert loop in the folder `benchmarks`. All
train the same network on the same number of random images.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from augean.benchmark.ceilings import copy_rate, count_flops, matrix_rate
from augean.benchmark.entry import LoopResult
from augean.benchmark.measurement import Measurement, summarize
from augean.benchmark.processes import run_loop
from augean.config.schema import Config
from augean.errors import AugeanError
from augean.training.device import DTYPES, device_title, find_device
from augean.training.step import WARMUP_STEPS
from augean.version import version

LOOP_OPTIONS = {
    "compile": "runtime.compile=true",
    "fused": "runtime.fused_norm=true",
    "host": "runtime.data_on=host",
}
"""The override that an option stands for, as in the loop "core+compile"."""


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """The measurements of each configuration."""

    loops: Sequence[str]
    """Names. "core+compile" and the like are the core with an option of `LOOP_OPTIONS`."""
    at_once: Sequence[int]
    """Each loop is measured once for each of these numbers: so many processes train at the same
    time, and share the CPU's threads."""
    images: int
    """Images of one epoch."""
    epochs: int
    """Epochs of one process, at least 2; the first is not counted in the rate."""
    repeats: int
    """Processes of each loop."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware and the versions that a measurement depends on."""

    device: str
    threads: int
    cores: int | None
    copy_gb_per_second: float
    """Of a large copy, read and written bytes added."""
    versions: dict[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A network with its batch size, and the highest rate at which it could be trained."""

    model: str
    channels: int | None
    """None for a network of torchvision, which has widths of its own."""
    precision: str
    batch_size: int
    gflop_per_step: float
    matrix_tflops: float
    """Rate of large matrix products in this precision."""


def check_epoch(config: Config, plan: BenchPlan) -> None:
    """Refuse an epoch in which a GPU would not get to what is measured, the replays of a graph.

    The first epoch, which is not counted, has to hold the warm-up and the capture.

    Raises:
        AugeanError: for too few images.
    """
    batch_size = config.trainer.batch_size
    fewest = (WARMUP_STEPS + 1) * batch_size
    is_captured = config.runtime.cuda_graph and find_device(config.runtime.device).type == "cuda"
    if is_captured and plan.images < fewest:
        raise AugeanError(
            f"--images {plan.images}: on CUDA an epoch needs {WARMUP_STEPS + 1} batches of"
            f" {batch_size}, or the capture of the step would be counted; use --images {fewest}"
        )


def prepare_machine(config: Config) -> Machine:
    """Give this process as many threads as the loops have, and measure how fast the device copies.

    Raises:
        ConfigError: for a device that is not there.
    """
    # The rates of copies and matrix products are measured in this process.
    torch.set_num_threads(config.runtime.threads or torch.get_num_threads())
    device = find_device(config.runtime.device)
    return Machine(
        device=device_title(device),
        threads=torch.get_num_threads(),
        cores=os.cpu_count(),
        copy_gb_per_second=copy_rate(device) / 1e9,
        versions={
            "augean": version(),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "cuda": torch.version.cuda if device.type == "cuda" else None,
        },
    )


def measure_ceiling(config: Config) -> Setting:
    """Count the operations of a step, and measure the rate that the device reaches at best."""
    device = find_device(config.runtime.device)
    return Setting(
        model=config.model.name,
        channels=config.width.channels,
        precision=config.trainer.precision,
        batch_size=config.trainer.batch_size,
        gflop_per_step=count_flops(config, device) / 1e9,
        matrix_tflops=matrix_rate(device, DTYPES[config.trainer.precision]) / 1e12,
    )


def measure_loops(
    setting: Setting, overrides: Sequence[str], plan: BenchPlan
) -> Iterator[list[Measurement]]:
    """Measure each loop in processes of its own; yield all measurements so far after each process.

    Args:
        setting: what the overrides stand for.
        overrides: of the config.

    Raises:
        AugeanError: for a loop that does not exist, and when a process failed.
    """
    for results_by_loop in _run_in_turns(overrides, plan):
        measurements = []
        for (loop, at_once), results in results_by_loop.items():
            if not results:
                continue
            measurement = summarize(
                loop,
                overrides,
                results,
                images=plan.images,
                flops_per_image=setting.gflop_per_step * 1e9 / setting.batch_size,
                matrix_rate=setting.matrix_tflops * 1e12,
                at_once=at_once,
            )
            measurements.append(measurement)
        yield measurements


def _run_in_turns(
    overrides: Sequence[str], plan: BenchPlan
) -> Iterator[dict[tuple[str, int], list[LoopResult]]]:
    """Run all processes of one configuration.

    The loops take turns, so that other work on the machine slows all of them alike.

    Yields:
        After each process the results so far, by (loop, number at once).
    """
    results: dict[tuple[str, int], list[LoopResult]] = {}
    for loop in plan.loops:
        for at_once in plan.at_once:
            results[loop, at_once] = []
    # The dictionary has the loops in the order of their turns.
    for _ in range(plan.repeats):
        for loop, at_once in results:
            # "core+compile" is the loop "core" with an option.
            name, _, option = loop.partition("+")
            settings = list(overrides)
            if option in LOOP_OPTIONS:
                settings.append(LOOP_OPTIONS[option])
            # Share out the threads: each process would take all cores by default.
            if at_once > 1:
                threads = max(1, torch.get_num_threads() // at_once)
                settings.append(f"runtime.threads={threads}")
            result = run_loop(name, settings, plan.images, plan.epochs, at_once)
            results[loop, at_once].append(result)
            yield results
