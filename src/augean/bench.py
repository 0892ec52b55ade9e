"""Throughput of the training core on this machine, beside the machine's own measured matrix rate."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import augean
from augean.build import build_model, build_optimizer
from augean.config import Config
from augean.fit import DTYPES, Inputs, Split, batch_loss, choose_layout, fit
from augean.schedule import Schedule
from augean.training import device_title, find_device

MATRIX_SIZES = {"cpu": 2048, "cuda": 8192, "mps": 4096}
NUM_CLASSES = 10


@dataclass(frozen=True)
class Measurement:
    """One configuration on one device: medians over repeats, with the fastest and slowest."""

    model: str
    channels: int
    precision: str
    batch_size: int
    images_per_second: float
    slowest: float
    fastest: float
    tflop_per_step: float
    """Floating-point operations of forward and backward, counted, multiplications and additions apart."""
    matrix_tflops: float
    """Measured rate of a large matrix product in this precision, 10^12 operations a second."""
    share_of_matrix_rate: float
    repeats: int
    steps: int


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(action: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - start


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Median operations per second of a large square matrix product."""
    size = MATRIX_SIZES[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    left @ right
    return 2 * size**3 / statistics.median(seconds_of(lambda: left @ right, device) for _ in range(max(repeats, 5)))


def measure(config: Config, *, steps: int, repeats: int) -> Measurement:
    """Time whole epochs of `steps` steps of the training core on generated images, after one epoch of warm-up.

    Args:
        config: as for a run; its data set is replaced by noise of the same image size, kept on the device.
    """
    device, batch_size, size = find_device(config.runtime.device), config.trainer.batch_size, config.dataset.image_size
    config.trainer.epochs = repeats + 1
    count = steps * batch_size
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, device=device)
    train = Split(images, torch.randint(0, NUM_CLASSES, (count,), device=device))
    network = build_model(config, NUM_CLASSES).to(device)
    network = network.to(memory_format=choose_layout(network, device))
    make_inputs = Inputs(network, config, device)
    with FlopCounterMode(display=False) as counter:
        batch = images[:batch_size].permute(0, 3, 1, 2)
        batch_loss(network, batch, train.labels[:batch_size], make_inputs, config)[0].backward()  # type: ignore[no-untyped-call]
    if config.runtime.compile:
        network.compile()
    rates = [
        result.images_per_second
        for result in fit(
            network,
            build_optimizer(config, network),
            Schedule(config.schedule, config.optimizer.lr, steps * config.trainer.epochs),
            torch.amp.GradScaler(device.type, enabled=config.trainer.precision == "fp16"),
            train,
            None,
            config,
        )
    ][1:]
    ceiling = matrix_rate(device, DTYPES[config.trainer.precision], repeats)
    median = statistics.median(rates)
    return Measurement(
        model=config.model.name,
        channels=config.width.channels,
        precision=config.trainer.precision,
        batch_size=batch_size,
        images_per_second=median,
        slowest=min(rates),
        fastest=max(rates),
        tflop_per_step=counter.get_total_flops() / 1e12,
        matrix_tflops=ceiling / 1e12,
        share_of_matrix_rate=counter.get_total_flops() * median / batch_size / ceiling,
        repeats=repeats,
        steps=steps,
    )


def bench(configs: list[Config], *, steps: int, repeats: int, output: Path | None) -> None:
    """Measure each config, print a table, and write it as JSON where `output` is given."""
    device = find_device(configs[0].runtime.device)
    print(f"{device_title(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    head = f"{'model':<12}{'C':>5}{'precision':>11}{'images/s (median, range)':>34}"
    print(f"{head}{'GFLOP/step':>12}{'matrix rate':>16}")
    measurements = []
    for config in configs:
        one = measure(config, steps=steps, repeats=repeats)
        spread = f"{one.images_per_second:,.0f} ({one.slowest:,.0f}-{one.fastest:,.0f})"
        print(
            f"{one.model:<12}{one.channels:>5}{one.precision:>11}{spread:>34}{one.tflop_per_step * 1000:>12.1f}"
            f"{one.share_of_matrix_rate:>7.1%} of {one.matrix_tflops:.2f}T",
            flush=True,
        )
        measurements.append(asdict(one))
    if output is not None:
        content = {
            "device": device_title(device),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "versions": {
                "augean": augean.__version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "measurements": measurements,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=1) + "\n")
        print(f"Written: {output}")
