"""Measure the throughput of the training core beside other loops, and its share of the peak rate.

Each measurement is a process of its own, timed from its start. So imports, compilation and graph
capture count, and no measurement changes the state of another. The loops themselves are scripts:
`augean.benchmark.core_loop` here, the ordinary and the expert loop in the folder `benchmarks`. All
train the same network on the same number of random images.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from augean.benchmark.ceilings import copy_rate, count_flops, matrix_rate
from augean.benchmark.entry import LoopResult
from augean.benchmark.measurement import Measurement, print_table, summarize
from augean.benchmark.processes import run_loop
from augean.config.compose import compose
from augean.config.schema import Config
from augean.training.device import DTYPES, device_title, find_device
from augean.version import version

LOOP_OPTIONS = {"compile": "runtime.compile=true", "host": "runtime.data_on=host"}
"""The override that an option stands for, as in the loop "core+compile"."""


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """The measurements of each configuration."""

    loops: Sequence[str]
    """Names. "core+compile" is the core with `runtime.compile=true`, "core+host" the core with
    `runtime.data_on=host`."""
    at_once: Sequence[int]
    """Each loop is measured once for each of these numbers: so many processes train at the same
    time, and share the CPU's threads."""
    images: int
    """Images of one epoch."""
    epochs: int
    """Epochs of one process, at least 2; the first is not counted in the rate."""
    repeats: int
    """Processes of each loop."""


def bench(
    settings: Sequence[Sequence[str]],
    loops: Sequence[str],
    *,
    images: int,
    epochs: int,
    repeats: int,
    output: Path | None,
    at_once: Sequence[int] = (1,),
) -> None:
    """Measure each loop on each setting and print tables.

    Args:
        settings: config overrides of each configuration.
        loops, images, epochs, repeats, at_once: as in `BenchPlan`.
        output: JSON file for the measurements.

    Raises:
        AugeanError: for a setting or a loop that does not exist, and when a process failed.
    """
    plan = BenchPlan(loops=loops, at_once=at_once, images=images, epochs=epochs, repeats=repeats)
    configs = [compose(list(overrides)) for overrides in settings]
    device = find_device(configs[0].runtime.device)
    # The rates of copies and matrix products are measured in this process, with as many threads
    # as the loops have.
    torch.set_num_threads(configs[0].runtime.threads or torch.get_num_threads())
    copy_gb = copy_rate(device) / 1e9
    print(f"{device_title(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"Large copy: {copy_gb:,.0f} GB/s. {epochs} epochs of {images:,} images, {repeats}"
        " processes a line."
    )
    entries = []
    for config, overrides in zip(configs, settings, strict=True):
        entries.append(_measure_setting(config, list(overrides), plan, device))
    if output is not None:
        content = {**_describe_machine(device, copy_gb), "measurements": entries}
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=1) + "\n")
        print(f"Written: {output}")


def _measure_setting(
    config: Config, overrides: list[str], plan: BenchPlan, device: torch.device
) -> dict[str, Any]:
    """Print the table of one configuration, and return it as it is written to JSON."""
    ceiling = matrix_rate(device, DTYPES[config.trainer.precision])
    flops = count_flops(config, device)
    batch_size = config.trainer.batch_size
    print(
        f"\n{config.model.name}, C={config.width.channels}, {config.trainer.precision}, batch"
        f" {batch_size}: {flops / 1e9:,.1f} GFLOP a step; matrix product {ceiling / 1e12:,.2f}"
        " TFLOP/s"
    )
    measurements: list[Measurement] = []
    for (loop, at_once), results in _run_in_turns(overrides, plan).items():
        measurement = summarize(
            loop,
            overrides,
            results,
            images=plan.images,
            flops_per_image=flops / batch_size,
            matrix_rate=ceiling,
            at_once=at_once,
        )
        measurements.append(measurement)
    print_table(measurements)
    return {
        "model": config.model.name,
        "channels": config.width.channels,
        "precision": config.trainer.precision,
        "batch_size": batch_size,
        "gflop_per_step": flops / 1e9,
        "matrix_tflops": ceiling / 1e12,
        "loops": [asdict(measurement) for measurement in measurements],
    }


def _run_in_turns(overrides: list[str], plan: BenchPlan) -> dict[tuple[str, int], list[LoopResult]]:
    """Run all processes of one configuration.

    The loops take turns, so that other work on the machine slows all of them alike.

    Returns:
        The results by (loop, number at once).
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
    return results


def _describe_machine(device: torch.device, copy_gb: float) -> dict[str, Any]:
    """Return the hardware and the versions that a measurement depends on."""
    return {
        "device": device_title(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "copy_gb_per_second": copy_gb,
        "versions": {
            "augean": version(),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "cuda": torch.version.cuda if device.type == "cuda" else None,
        },
    }
