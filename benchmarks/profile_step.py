"""Profile one captured training step by kind of kernel, and measure its memory.

    python benchmarks/profile_step.py width.channels=16 runtime.compile=true --output step.json

Times are those of replays of the captured graph, after warming up. On a device other than CUDA the
step is not captured, and operators stand in for kernels.
"""

import argparse
import json
import math
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from augean.benchmark.ceilings import count_flops, matrix_rate
from augean.benchmark.core_loop import random_context
from augean.benchmark.entry import Entry, synchronize
from augean.training.data import Batch
from augean.training.device import DTYPES, algorithms, device_title
from augean.training.step import WARMUP_STEPS, Step

KINDS = {
    "compiled (Triton)": ("triton_",),
    "random numbers": ("philox", "distribution", "random", "rand"),
    "optimizer": ("fused_sgd", "fusedsgd", "multi_tensor", "adam", "_sgd_"),
    "batch norm": (
        *("batch_norm", "batchnorm", "bn_", "norm_backward", "_norm"),
        *("sum_blocks", "join_blocks", "gradient_blocks"),  # augean.models.norm_kernels
    ),
    "loss": ("softmax", "nll_loss"),
    "convolution and matrix product": (
        *("conv", "cudnn", "xmma", "cutlass", "gemm", "nvjet", "dgrad", "wgrad", "fprop"),
        *("splitk", "cublas", "addmm", "implicit", "sm90_", "sm80_"),
    ),
    "pooling": ("pool", "mean"),
    "gather": ("gather", "index", "scatter"),
    "copy and cast": ("memcpy", "memset", "copy", "cast", "nchwtonhwc", "nhwctonchw"),
    "elementwise": ("elementwise", "relu", "add", "mul", "threshold"),
    "reduction": ("reduce", "sum"),
}
"""Parts of a kernel's name, in small letters, that tell its kind; the first that fits counts."""
LONGEST = 40
"""Kernels listed by name."""


def kind_of(name: str) -> str:
    for kind, parts in KINDS.items():
        if any(part in name.lower() for part in parts):
            return kind
    return "other"


def step_seconds(step: Step, batch: Batch, steps: int, device: torch.device) -> float:
    """Return the time of a step in seconds: the median of three rows of steps."""
    rows = []
    for _ in range(3):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(steps):
            step(batch)
        synchronize(device)
        rows.append((time.perf_counter() - start) / steps)
    return statistics.median(rows)


def list_kernels(
    step: Step, batch: Batch, steps: int, device: torch.device
) -> list[dict[str, Any]]:
    """Return name, kind, count a step and milliseconds a step of each kernel, the longest first."""
    on_cuda = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiler:
        for _ in range(steps):
            step(batch)
        synchronize(device)
    kernels = []
    for event in profiler.key_averages():
        microseconds = event.self_device_time_total if on_cuda else event.self_cpu_time_total
        if microseconds:
            kernels.append(
                {
                    "name": event.key[:200],
                    "kind": kind_of(event.key),
                    "count": event.count / steps,
                    "ms": microseconds / 1000 / steps,
                }
            )
    return sorted(kernels, key=lambda kernel: -kernel["ms"])


def measure(entry: Entry, steps: int) -> dict[str, Any]:
    """Return the times, the kernels and the memory of a step."""
    config, device = entry.config, entry.device
    batch_size = config.trainer.batch_size
    with algorithms(config.trainer.deterministic):
        context = random_context(entry)
        context.train_mode()
        step = Step(context)
        batch = Batch(torch.arange(batch_size, device=device) % entry.images)
        step.set_lr(1e-3)
        start = time.perf_counter()
        for _ in range(WARMUP_STEPS + 1):
            step(batch)
        synchronize(device)
        capture_seconds = time.perf_counter() - start
        seconds = step_seconds(step, batch, steps, device)
        kernels = list_kernels(step, batch, steps, device)
        # Before the ceilings are measured, which need memory of their own.
        peak_bytes = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
        flops = count_flops(config, device)
        ceiling = matrix_rate(device, DTYPES[config.trainer.precision])
    by_kind: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        by_kind[kernel["kind"]] += kernel["ms"]
    return {
        "device": device_title(device),
        "torch": str(torch.__version__),
        "overrides": entry.overrides,
        "captured": step.graph is not None,
        "capture_seconds": capture_seconds,
        "step_ms": seconds * 1000,
        "images_per_second": batch_size / seconds,
        "share_of_matrix_rate": flops / seconds / ceiling,
        "kernels_ms": math.fsum(by_kind.values()),
        "kernels_a_step": math.fsum(kernel["count"] for kernel in kernels),
        "peak_memory_mb": None if peak_bytes is None else peak_bytes / 1e6,
        "ms_by_kind": dict(sorted(by_kind.items(), key=lambda item: -item[1])),
        "longest_kernels": kernels[:LONGEST],
    }


def print_profile(result: dict[str, Any]) -> None:
    print(
        f"{' '.join(result['overrides'])}: {result['step_ms']:.3f} ms a step,"
        f" {result['images_per_second']:,.0f} images/s, {result['share_of_matrix_rate']:.1%} of the"
        f" matrix rate; {result['kernels_a_step']:.0f} kernels take {result['kernels_ms']:.3f} ms"
    )
    for kind, ms in result["ms_by_kind"].items():
        print(f"  {kind:<32}{ms:>8.3f} ms{ms / result['kernels_ms']:>8.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    entry = Entry(arguments.overrides, arguments.images, epochs=1, started=time.time())
    result = measure(entry, arguments.steps)
    print_profile(result)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
