"""The device of a run: how to find it, its precision, memory layout, algorithms and randomness."""

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
    """Seed every default generator (CPU, CUDA, MPS) from (seed, epoch).

    Epoch 0 is the initialisation.
    """
    torch.manual_seed(seed * 1_000_003 + epoch)


def autocast(config: Config, device: torch.device) -> torch.autocast:
    dtype = DTYPES[config.trainer.precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def choose_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return channels_last, the faster layout for convolutions, wherever it is safe.

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
    """Resolve `runtime.device`; `cuda:<n>` becomes the device of streams and graphs.

    Raises:
        DeviceError: when it is not on this machine.
    """
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if name == "auto" and has_cuda:
        name = "cuda"
    elif name == "auto":
        name = "mps" if has_mps else "cpu"
    device = torch.device(name)
    available = {
        "cpu": True,
        "cuda": has_cuda and (device.index or 0) < torch.cuda.device_count(),
        "mps": has_mps,
    }
    if not available[device.type]:
        raise DeviceError(f"runtime.device={name}: not available here; use runtime.device=auto")
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def device_title(device: torch.device) -> str:
    """Return the name of a device, as summaries and tables have it."""
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
    """Return what to set instead, where a precision is slow on a device."""
    if device.type == "cpu" and (
        precision == "fp16" or (precision == "bf16" and not _cpu_multiplies_bf16())
    ):
        return (
            f"trainer.precision={precision} is slow on this CPU: trainer.precision=fp32 is faster"
        )
    if device.type == "cuda" and precision == "fp32":
        return (
            "trainer.precision=fp32 is slow on this GPU: trainer.precision=bf16 is several times"
            " faster"
        )
    # Ampere, of capability 8.0, is the first with bf16.
    if (
        device.type == "cuda"
        and precision == "bf16"
        and torch.cuda.get_device_capability(device) < (8, 0)
    ):
        return "trainer.precision=bf16 is slow on this GPU: trainer.precision=fp16 is faster"
    return None


def _cpu_multiplies_bf16() -> bool:
    """Return whether the processor has instructions for bf16; True where torch cannot tell.

    Without them bf16 is emulated.
    """
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)  # not in older releases
    if get_capabilities is None:
        return True
    capabilities = get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest algorithms by trial, or torch only deterministic ones.

    fp32 is fp32 here, not TF32.
    """
    cudnn = torch.backends.cudnn
    benchmark_before = cudnn.benchmark
    allow_tf32_before = cudnn.allow_tf32
    cudnn.benchmark = not deterministic
    cudnn.allow_tf32 = False
    if deterministic:
        # cuBLAS reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        cudnn.benchmark = benchmark_before
        cudnn.allow_tf32 = allow_tf32_before
        torch.use_deterministic_algorithms(False)
