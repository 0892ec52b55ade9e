"""Throughput of the training core beside other loops, and its share of what the device can do.

Each measurement is a process of its own, timed from its start, so that imports, compilation and
graph capture count and nothing is left over from another one. The loops themselves are scripts:
`augean.benchmark.core_loop` here, the ordinary and the expert loop in the folder `benchmarks`. All
train the same network on the same number of random images.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from augean.benchmark.entry import NUM_CLASSES, synchronize
from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import AugeanError
from augean.training.build import build_model
from augean.training.device import DTYPES, device_title, find_device
from augean.training.step import Inputs, batch_loss
from augean.version import version

MATRIX_SIZES = {"cpu": 3072, "cuda": 8192, "mps": 4096}
MAX_SECONDS = 1
"""Of one matrix product."""
COPY_BYTES = {"cpu": 2**28, "cuda": 2**32, "mps": 2**30}
FULL_RUN = (35, 50_000)
"""Epochs and images of the run whose wall time is the goal: the report's on the whole training
set."""


@dataclass(frozen=True)
class Measurement:
    """One loop on one configuration: medians over repeats, with the fastest and slowest."""

    loop: str
    at_once: int
    """Processes that train at the same time; rates and memory are those of all together."""
    overrides: list[str]
    images_per_second: float
    """Median over all epochs but each process's first."""
    slowest: float
    fastest: float
    first_step_seconds: float
    wall_seconds: float
    """From the start of the process to the end of its last epoch."""
    full_run_seconds: float
    """Wall time of 35 epochs of 50,000 images: measured where that was the size, else start and
    rate extrapolated.

    Of runs at once each one's share: the time until the last has ended, by their number."""
    peak_memory_mb: float
    """Of the device on CUDA, else resident memory of the process, its loader processes not
    counted."""
    share_of_matrix_rate: float
    epochs: int
    images: int
    repeats: int


def least_seconds(action: Any, device: torch.device, repeats: int = 9) -> float:
    """Of several repeats the fastest: what the device can do, whatever else it does meanwhile."""
    action()
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        action()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large square matrix product, multiplications and additions apart.

    Sizes grow up to that of `MATRIX_SIZES` and the best one counts; where the next would take long
    they end earlier, as a processor without bf16 arithmetic may need minutes for one product.
    """
    rate, size = 0.0, MATRIX_SIZES[device.type] // 16
    while True:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = least_seconds(partial(torch.mm, left, right), device)
        rate = max(rate, 2 * size**3 / seconds)
        if size == MATRIX_SIZES[device.type] or 8 * seconds > MAX_SECONDS:
            return rate
        size *= 2


def copy_rate(device: torch.device) -> float:
    """Bytes per second of a large copy on the device, read and written ones apart."""
    source = torch.zeros(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * len(source) / least_seconds(lambda: target.copy_(source), device)


def count_flops(config: Config, device: torch.device) -> int:
    """Operations of one step's forward and backward pass, multiplications and additions apart."""
    network, size = build_model(config, NUM_CLASSES).to(device), config.dataset.image_size
    images = torch.zeros(config.trainer.batch_size, 3, size, size, dtype=torch.uint8, device=device)
    labels = torch.zeros(config.trainer.batch_size, dtype=torch.int64, device=device)
    with FlopCounterMode(display=False) as counter:
        batch_loss(network, images, labels, Inputs(network, config, device), config)[0].backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def command_of(loop: str) -> list[str]:
    """The command of a loop.

    Raises:
        AugeanError: for a loop that an installed package does not bring.
    """
    if loop == "core":
        return [sys.executable, "-m", "augean.benchmark.core_loop"]
    script = Path(__file__).parents[3] / "benchmarks" / f"{loop}_loop.py"
    if not script.is_file():
        raise AugeanError(
            f"--loops {loop}: {script} is not there; it comes with a checkout. Use --loops core"
        )
    return [sys.executable, str(script)]


def run_loop(
    loop: str, overrides: Sequence[str], images: int, epochs: int, at_once: int = 1
) -> dict[str, Any]:
    """One process of one loop, or several at once; returns what `Entry.print_result` printed.

    Several begin their second epoch together, and the later ones are taken as equally long: what
    the slowest process needed. Start is that of the slowest, memory the sum.

    Raises:
        AugeanError: when a process failed.
    """
    entry = {
        "overrides": list(overrides),
        "images": images,
        "epochs": epochs,
        "started": time.time(),
    }
    command = [*command_of(loop), json.dumps({**entry, "waits": at_once > 1})]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        start = partial(subprocess.Popen, command, stdin=pipe, stdout=pipe, text=True)
        processes = [stack.enter_context(start()) for _ in range(at_once)]
        if at_once > 1:
            for process in processes:
                process.stdout.readline()  # type: ignore[union-attr]
        for process in processes:
            process.stdin.close()  # type: ignore[union-attr]
        printed = [process.stdout.read() for process in processes]  # type: ignore[union-attr]
    if failed := [code for process in processes if (code := process.wait())]:
        raise AugeanError(f"the {loop} loop ended with exit code {failed[0]}; its message is above")
    results: list[dict[str, Any]] = [json.loads(text.splitlines()[-1]) for text in printed]
    steady = max(sum(result["epoch_seconds"][1:]) for result in results) / (epochs - 1)
    first = max(result["epoch_seconds"][0] for result in results)
    return {
        "first_step_seconds": max(result["first_step_seconds"] for result in results),
        "epoch_seconds": (
            [first, *[steady] * (epochs - 1)] if at_once > 1 else results[0]["epoch_seconds"]
        ),
        "wall_seconds": max(result["wall_seconds"] for result in results),
        "peak_memory_mb": sum(result["peak_memory_mb"] for result in results),
    }


def summarize(
    loop: str,
    overrides: list[str],
    results: list[dict[str, Any]],
    images: int,
    flops_an_image: float,
    ceiling: float,
    at_once: int = 1,
) -> Measurement:
    """Medians over the processes of one loop."""
    epochs = len(results[0]["epoch_seconds"])
    rates = [
        at_once * images / seconds for result in results for seconds in result["epoch_seconds"][1:]
    ]
    rate, wall = (
        statistics.median(rates),
        statistics.median(result["wall_seconds"] for result in results),
    )
    # What is not steady training: imports, data, compilation, capture, the slow first epoch.
    start = statistics.median(
        r["wall_seconds"] - sum(r["epoch_seconds"][1:]) - at_once * images / rate for r in results
    )
    full = (
        wall
        if (epochs, images) == FULL_RUN
        else max(start, 0.0) + at_once * FULL_RUN[0] * FULL_RUN[1] / rate
    )
    return Measurement(
        loop=loop,
        at_once=at_once,
        overrides=overrides,
        images_per_second=rate,
        slowest=min(rates),
        fastest=max(rates),
        first_step_seconds=statistics.median(result["first_step_seconds"] for result in results),
        wall_seconds=wall,
        full_run_seconds=full / at_once,
        peak_memory_mb=statistics.median(result["peak_memory_mb"] for result in results),
        share_of_matrix_rate=flops_an_image * rate / ceiling,
        epochs=epochs,
        images=images,
        repeats=len(results),
    )


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
    """Measure each loop on each setting, print a table, and write it as JSON where `output` is
    given.

    The loops of one setting take turns, so that a machine that others slow down slows all of them.

    Args:
        settings: config overrides; "core+compile" among `loops` is the core with
            `runtime.compile=true`.
        images: of one epoch.
        epochs: of one process, at least 2; the first is not counted in the rate.
        repeats: processes of each loop.
        at_once: for each number a line of that many processes that train at the same time and share
            the CPU's threads.
    """
    configs = [compose(list(overrides)) for overrides in settings]
    device = find_device(configs[0].runtime.device)
    torch.set_num_threads(configs[0].runtime.threads or torch.get_num_threads())
    copy = copy_rate(device)
    print(f"{device_title(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"Large copy: {copy / 1e9:,.0f} GB/s. {epochs} epochs of {images:,} images, {repeats}"
        " processes a line."
    )
    written = []
    for config, overrides in zip(configs, settings, strict=True):
        ceiling = matrix_rate(device, DTYPES[config.trainer.precision])
        flops, batch_size = count_flops(config, device), config.trainer.batch_size
        print(
            f"\n{config.model.name}, C={config.width.channels}, {config.trainer.precision}, batch"
            f" {batch_size}: {flops / 1e9:,.1f} GFLOP a step; matrix product {ceiling / 1e12:,.2f}"
            " TFLOP/s"
        )
        collected: dict[tuple[str, int], list[dict[str, Any]]] = {
            (loop, n): [] for loop in loops for n in at_once
        }
        for _ in range(repeats):
            for (loop, number), results in collected.items():
                name, _, compiled = loop.partition("+")
                more = ["runtime.compile=true"] if compiled else []
                if number > 1:
                    more.append(f"runtime.threads={max(1, torch.get_num_threads() // number)}")
                results.append(run_loop(name, [*overrides, *more], images, epochs, number))
        lines = [
            summarize(loop, list(overrides), results, images, flops / batch_size, ceiling, number)
            for (loop, number), results in collected.items()
        ]
        print_table(lines)
        written.append(
            {
                "model": config.model.name,
                "channels": config.width.channels,
                "precision": config.trainer.precision,
                "batch_size": batch_size,
                "gflop_per_step": flops / 1e9,
                "matrix_tflops": ceiling / 1e12,
                "loops": [asdict(line) for line in lines],
            }
        )
    if output is not None:
        content = {
            "device": device_title(device),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "copy_gb_per_second": copy / 1e9,
            "versions": {
                "augean": version(),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
                "cuda": torch.version.cuda if device.type == "cuda" else None,
            },
            "measurements": written,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=1) + "\n")
        print(f"Written: {output}")


def print_table(lines: Sequence[Measurement]) -> None:
    """Ratios are to the first line; "4 x core" are four processes at once, with their total
    rate.
    """
    print(
        f"{'loop':<17}{'images/s (range)':>28}{'ratio':>8}{'of matrix rate':>16}{'first step':>12}"
        f"{'35 x 50,000':>13}{'ratio':>8}{'memory':>11}"
    )
    for line in lines:
        spread = f"{line.images_per_second:,.0f} ({line.slowest:,.0f}-{line.fastest:,.0f})"
        name = line.loop if line.at_once == 1 else f"{line.at_once} x {line.loop}"
        print(
            f"{name:<17}{spread:>28}{line.images_per_second / lines[0].images_per_second:>7.2f}x"
            f"{line.share_of_matrix_rate:>16.1%}{line.first_step_seconds:>10.1f}"
            f" s{line.full_run_seconds:>11,.0f} s"
            f"{lines[0].full_run_seconds / line.full_run_seconds:>7.2f}x"
            f"{line.peak_memory_mb:>8,.0f} MB",
            flush=True,
        )
