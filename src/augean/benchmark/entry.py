"""One process of the benchmark: its task and its clock."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from augean.config.compose import compose
from augean.config.schema import Config
from augean.training.build import build_model
from augean.training.device import find_device

NUM_CLASSES = 10


@dataclass
class Entry:
    """One process's task and clock. A loop takes it from its command line, reports its epochs and
    steps, and prints.
    """

    overrides: list[str]
    images: int
    epochs: int
    started: float
    """time.time() when the process was started."""
    waits: bool = False
    """After its first epoch, until its standard input ends: when all that run at once have come so
    far."""
    config: Config = field(init=False)
    device: torch.device = field(init=False)
    first_step_seconds: float = 0.0
    """From the start of the process to the end of the first step."""
    epoch_seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = compose(self.overrides)
        self.device = find_device(self.config.runtime.device)
        torch.set_num_threads(self.config.runtime.threads or torch.get_num_threads())

    @classmethod
    def from_command_line(cls) -> "Entry":
        return cls(**json.loads(sys.argv[1]))

    def build_network(self) -> nn.Module:
        """The same for every loop, in fp32 on the device."""
        return build_model(self.config, NUM_CLASSES).to(self.device)

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Time one epoch."""
        start = time.perf_counter()
        yield
        synchronize(self.device)
        self.epoch_seconds.append(time.perf_counter() - start)
        if self.waits and len(self.epoch_seconds) == 1:
            print("waiting", flush=True)
            sys.stdin.read()

    def end_step(self) -> None:
        """Note the end of the first step; costs nothing afterwards."""
        if not self.first_step_seconds:
            synchronize(self.device)
            self.first_step_seconds = time.time() - self.started

    def print_result(self) -> None:
        cuda = self.device.type == "cuda"
        memory = torch.cuda.max_memory_allocated() if cuda else peak_resident_bytes()
        result = {
            "first_step_seconds": self.first_step_seconds,
            "epoch_seconds": self.epoch_seconds,
            "wall_seconds": time.time() - self.started,
            "peak_memory_mb": memory / 1e6,
        }
        print(json.dumps(result))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_resident_bytes() -> int:
    """Largest resident memory of this process."""
    status = Path(
        "/proc/self/status"
    )  # Linux's getrusage would give the parent's where that was larger
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
