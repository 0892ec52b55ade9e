"""Let the capture of a step fail, and use the device afterwards; see test_cuda.py.

To be run as a process of its own: torch 2.11 cannot draw random numbers after a failed capture.
"""

import pytest
import torch
from torch import Tensor, nn

from augean.config.compose import compose
from augean.errors import AugeanError
from augean.runs.address import build_source
from augean.training.data import Batch, load_data
from augean.training.step import WARMUP_STEPS, Step
from conftest import TINY
from contexts import make_context


class Waiting(nn.Linear):
    """Waits in a way that `refusing_waits` does not notice and a capture forbids."""

    def forward(self, images: Tensor) -> Tensor:
        torch.cuda.synchronize()
        return super().forward(images.mean((2, 3)))


config = compose([*TINY, "runtime.device=cuda"])
data = load_data(build_source(config), 40, None, 0, torch.device("cuda"))
step = Step(make_context(config, data.train, network=Waiting(3, 4).cuda()))
batch = Batch(torch.arange(32, device="cuda"))
stream = torch.cuda.current_stream()
for _ in range(WARMUP_STEPS):
    step(batch)
with pytest.raises(AugeanError, match=r"runtime\.cuda_graph=false"):
    step(batch)
assert torch.cuda.current_stream() == stream
assert torch.ones(3, device="cuda").sum().item() == 3
