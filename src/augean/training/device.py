"""The device of a run: finding it, its precision, memory layout, algorithms and random
generators.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from augean.config.schema import Config
from augean.errors import DeviceError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def seed_all(seed: int, epoch: int) -> None:
    """Seed every default generator (CPU, CUDA, MPS) from (seed, epoch); epoch 0 is the
    initialisation.
    """
    torch.manual_seed(seed * 1_000_003 + epoch)


def autocast(config: Config, device: torch.device) -> torch.autocast:
    dtype = DTYPES[config.trainer.precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def choose_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, which is the faster layout for convolutions, wherever it is safe.

    On CPUs the weight gradient of a strided 1x1 convolution with fewer than 16 input channels
    writes beyond its workspace in that layout and corrupts the heap (oneDNN issue 6035, in torch
    2.14).
    """
    unsafe = device.type == "cpu" and any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < 16
        for module in network.modules()
    )
    return torch.contiguous_format if unsafe else torch.channels_last


def find_device(name: str) -> torch.device:
    """The device that `runtime.device` means on this machine; `cuda:<n>` becomes that of streams
    and graphs.

    Raises:
        DeviceError: when it is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    device = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise DeviceError(f"runtime.device={name}: not available here; use runtime.device=auto")
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def device_title(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({_processor()})" if device.type == "cpu" else device.type


@lru_cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def precision_hint(precision: str, device: torch.device) -> str | None:
    """What to set instead, where a precision is slow on a device."""
    if device.type == "cpu":
        # Without these instructions bf16 is emulated. The queries are private, so their absence is
        # no answer.
        checks = [
            getattr(torch.cpu, name, None)
            for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        ]
        emulated = (
            precision == "bf16" and all(checks) and not any(check() for check in checks if check)
        )
        if precision == "fp16" or emulated:
            return (
                f"trainer.precision={precision} is slow on this CPU: trainer.precision=fp32 is"
                " faster"
            )
    if device.type == "cuda" and precision == "fp32":
        return (
            "trainer.precision=fp32 is slow on this GPU: trainer.precision=bf16 is several times"
            " faster"
        )
    if (
        device.type == "cuda"
        and precision == "bf16"
        and torch.cuda.get_device_capability(device) < (8, 0)
    ):
        return "trainer.precision=bf16 is slow on this GPU: trainer.precision=fp16 is faster"
    return None


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest algorithms by trial, or torch only deterministic ones; fp32 is
    fp32, not TF32.
    """
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = not deterministic, False
    if deterministic:
        # cuBLAS reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before
        torch.use_deterministic_algorithms(False)
