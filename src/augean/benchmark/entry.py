"""One process of the benchmark: its task and its clock."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from augean.config.compose import compose
from augean.config.schema import Config
from augean.training.build import build_model
from augean.training.device import find_device

NUM_CLASSES = 10
"""Classes of the random labels, as many as CIFAR-10 has."""


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """The times of one process, or of several at once as if they were one."""

    first_step_seconds: float
    """From the start of the process to the end of its first step."""
    epoch_seconds: list[float]
    """One number an epoch."""
    wall_seconds: float
    """From the start of the process to the end of its last epoch."""
    peak_memory_mb: float
    """Memory of the device on CUDA, else resident memory of the process."""


@dataclass
class Entry:
    """One process's task and clock.

    A loop takes it from its command line, reports its epochs and steps, and prints the result.
    """

    overrides: list[str]
    images: int
    """Images of one epoch."""
    epochs: int
    started: float
    """Start of the process, by the parent's `time.time()`: seconds since 1970."""
    waits: bool = False
    """Wait after the first epoch until standard input ends. The parent closes it when all processes
    that run at once have finished their first epoch."""
    config: Config = field(init=False)
    device: torch.device = field(init=False)
    first_step_seconds: float = 0.0
    """From the start of the process to the end of the first step; 0 before that."""
    epoch_seconds: list[float] = field(default_factory=list)
    """Time of each finished epoch."""

    def __post_init__(self) -> None:
        self.config = compose(self.overrides)
        self.device = find_device(self.config.runtime.device)
        torch.set_num_threads(self.config.runtime.threads or torch.get_num_threads())

    @classmethod
    def from_command_line(cls) -> "Entry":
        return cls(**json.loads(sys.argv[1]))

    def build_network(self) -> nn.Module:
        """Return the same network for every loop, in fp32 on the device."""
        return build_model(self.config, NUM_CLASSES).to(self.device)

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Time one epoch."""
        start = time.perf_counter()
        yield
        # A GPU works asynchronously: its kernels may still run here.
        synchronize(self.device)
        self.epoch_seconds.append(time.perf_counter() - start)
        # Outside the measured time: the first epoch is over, the second has not begun.
        if self.waits and len(self.epoch_seconds) == 1:
            print("waiting", flush=True)
            sys.stdin.read()

    def end_step(self) -> None:
        """Note the end of the first step; do nothing after later steps."""
        if self.first_step_seconds == 0:
            synchronize(self.device)
            self.first_step_seconds = time.time() - self.started

    def print_result(self) -> None:
        """Print the result as JSON, for the process that started this one."""
        is_cuda = self.device.type == "cuda"
        peak_bytes = torch.cuda.max_memory_allocated() if is_cuda else peak_resident_bytes()
        result = LoopResult(
            first_step_seconds=self.first_step_seconds,
            epoch_seconds=self.epoch_seconds,
            wall_seconds=time.time() - self.started,
            peak_memory_mb=peak_bytes / 1e6,
        )
        print(json.dumps(asdict(result)))


def synchronize(device: torch.device) -> None:
    """Wait until the kernels of a GPU have ended; they run asynchronously."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_resident_bytes() -> int:
    """Return the largest resident memory of this process."""
    status = Path("/proc/self/status")
    # Prefer /proc: on Linux getrusage gives the parent's memory where that was larger.
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                # "VmHWM:   123456 kB", where kB means KiB
                return 1024 * int(line.split()[1])
    # In bytes on macOS, in KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
