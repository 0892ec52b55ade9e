"""The device of a run: how to find it, its precision, memory layout, algorithms and randomness."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from augean.config.schema import Config, RuntimeConfig
from augean.errors import DeviceError

# By the names that `trainer.precision` has for them.
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

FP32_OPERATIONS = {
    "cuda.matmul": "cudnn",
    "cudnn.conv": "cudnn",
    "cudnn.rnn": "cudnn",
    "mkldnn.matmul": "mkldnn",
    "mkldnn.conv": "mkldnn",
    "mkldnn.rnn": "mkldnn",
}
"""Kinds of operations with a setting `fp32_precision` in `torch.backends`, and the backend whose
own setting holds for a kind that is set to "none"."""


def seed_all(seed: int, epoch: int) -> None:
    """Seed every default generator (CPU, CUDA, MPS) from (seed, epoch).

    Epoch 0 is the initialisation.
    """
    # A large prime keeps the pairs apart: no run has so many epochs.
    torch.manual_seed(seed * 1_000_003 + epoch)


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """Return the context in which the network computes at `trainer.precision`."""
    dtype = DTYPES[config.trainer.precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def choose_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return channels_last, the faster layout for convolutions, wherever it is safe.

    On CPUs the weight gradient of a strided 1x1 convolution with fewer than 16 input channels
    writes beyond its workspace in that layout and corrupts the heap (oneDNN issue 6035, in torch
    2.14).
    """
    if device.type == "cpu" and any(_is_unsafe(module) for module in network.modules()):
        return torch.contiguous_format
    return torch.channels_last


def _is_unsafe(module: nn.Module) -> bool:
    """Return whether a module is a convolution as `choose_layout` describes it."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < 16
    )


def find_device(name: str) -> torch.device:
    """Resolve `runtime.device`, and make `cuda:<n>` the current device.

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
    # Streams and graphs of CUDA belong to the current device, not to that of their tensors.
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def device_title(device: torch.device) -> str:
    """Return the name of a device, as summaries and tables have it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    # The model of a processor belongs to its name: runs of two models differ in time and last bits.
    return f"cpu ({_processor()})" if device.type == "cpu" else device.type


@lru_cache
def _processor() -> str:
    """Return the model of the processor, such as "Intel(R) Xeon(R) Gold 6248"."""
    try:
        # Linux; Python's own functions name only the architecture there.
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def precision_hint(precision: str, device: torch.device) -> str | None:
    """Return what to set instead, where a precision is slow on a device."""
    if device.type == "cpu":
        is_slow = precision == "fp16" or (precision == "bf16" and not _cpu_multiplies_bf16())
        if is_slow:
            return (
                f"trainer.precision={precision} is slow on this CPU: trainer.precision=fp32 is"
                " faster"
            )
        return None
    if device.type == "cuda":
        # Ampere, of capability 8.0, is the first with bf16.
        has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
        if precision == "fp32":
            fastest = "bf16" if has_bf16 else "fp16"
            return (
                f"trainer.precision=fp32 is slow on this GPU: trainer.precision={fastest} is"
                " several times faster"
            )
        if precision == "bf16" and not has_bf16:
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
def exact_fp32() -> Iterator[None]:
    """Let fp32 be fp32, whatever was set before: the default type of tensors, without TF32."""
    dtype_before = torch.get_default_dtype()
    matmul_before = _matmul_precision()
    cudnn_before = _cudnn_allows_tf32()
    precisions_before = _fp32_precisions()
    torch.set_default_dtype(torch.float32)
    # Both interfaces are set: where they differ, torch refuses to read the older one.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for operation in FP32_OPERATIONS:
        _part_of_backends(operation).fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.set_default_dtype(dtype_before)
        if matmul_before is not None:
            torch.set_float32_matmul_precision(matmul_before)
        if cudnn_before is not None:
            torch.backends.cudnn.allow_tf32 = cudnn_before
        for operation, precision in precisions_before.items():
            _part_of_backends(operation).fp32_precision = precision


def _matmul_precision() -> str | None:
    """Return the older setting of matrix products; None where the newer ones differ from it."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # "mix of the legacy and new APIs"
        return None


def _cudnn_allows_tf32() -> bool | None:
    """Return the older setting of convolutions; None where the newer ones differ from it."""
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def _fp32_precisions() -> dict[str, str]:
    """Return the newer settings of fp32, by operation: "none" where that of the backend holds."""
    precisions = {}
    for operation, backend in FP32_OPERATIONS.items():
        # torch tells what holds for an operation, not whether it follows its backend. Where both
        # are the same it is taken to follow.
        precision: str = _part_of_backends(operation).fp32_precision
        follows = precision == _part_of_backends(backend).fp32_precision
        precisions[operation] = "none" if follows else precision
    return precisions


def _part_of_backends(name: str) -> Any:
    """Return a part of `torch.backends` by its dotted name."""
    part: Any = torch.backends
    for attribute in name.split("."):
        part = getattr(part, attribute)
    return part


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest algorithms by trial, or torch only deterministic ones.

    fp32 is fp32 here, see `exact_fp32`.
    """
    benchmark_before = torch.backends.cudnn.benchmark
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    # torch makes this attribute at run time.
    filling: Any = torch.utils.deterministic
    filled_before = filling.fill_uninitialized_memory
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        # cuBLAS reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # No memory is read before it is written, so filling it first would only cost time.
    filling.fill_uninitialized_memory = False
    try:
        with exact_fp32():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark_before
        torch.use_deterministic_algorithms(deterministic_before, warn_only=warn_only_before)
        filling.fill_uninitialized_memory = filled_before


def instruction_set(device: torch.device) -> str | None:
    """Return what torch uses of the processor, such as AVX512; None where another device computes.

    Another instruction set gives other bits. `ATEN_CPU_CAPABILITY` chooses a lesser one.
    """
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None


def torch_settings(device: torch.device, runtime: RuntimeConfig) -> dict[str, Any]:
    """Return the settings that change what `device` computes and differ from torch's defaults.

    Returns:
        Values by name: functions without `set_` or `use_`, parts of `torch.backends`, environment
        variables, and keys of `runtime` that choose other code for the same mathematics.
    """
    # Name to the present value and torch's default.
    values: dict[str, tuple[Any, Any]] = {
        "default_dtype": (str(torch.get_default_dtype()).removeprefix("torch."), "float32"),
        "float32_matmul_precision": (_matmul_precision() or "highest", "highest"),
        "deterministic_algorithms": (torch.are_deterministic_algorithms_enabled(), False),
        "runtime.compile": (runtime.compile, False),
    }
    if device.type == "cuda":
        cudnn = torch.backends.cudnn
        # Inside `exact_fp32` it is False, unless own code has changed it there.
        values["cudnn.allow_tf32"] = (_cudnn_allows_tf32(), True)
        values["cudnn.benchmark"] = (cudnn.benchmark, False)
        values["runtime.fused_norm"] = (runtime.fused_norm, False)
    if device.type == "cpu":
        # The two variables limit the instructions of oneDNN, under its new and its old name.
        values["mkldnn.enabled"] = (torch.backends.mkldnn.enabled, True)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            values[name] = (os.environ.get(name), None)
    # What own code has set with torch's newer interface, past `exact_fp32`.
    backend_of_device = {"cpu": "mkldnn", "cuda": "cudnn"}.get(device.type)
    for operation, backend in FP32_OPERATIONS.items():
        precision = _part_of_backends(operation).fp32_precision
        if backend == backend_of_device and precision in ("tf32", "bf16"):
            values[f"{operation}.fp32_precision"] = (precision, None)
    settings = {}
    for name, (value, default) in values.items():
        if value != default:
            settings[name] = value
    return settings
