"""Batch norm, addition and activation in one pass give what the modules give.

The kernels run on a CPU in Triton's interpreter, in a process of its own: it must be switched on
before they are imported. tests/training/test_cuda.py has the same on a CUDA device.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from packaging.version import Version
from torch import nn

from augean.models.norm_activation import fused_norms, norm_activation, run_layers

triton = pytest.importorskip("triton")
TESTS = Path(__file__).parents[1]
INTERPRET = Path(__file__).with_name("interpret_fused_norm.py")
COMPILE = Path(__file__).with_name("compile_norm_kernels.py")


@pytest.mark.skipif(
    Version(triton.__version__) < Version("3.7") and Version(numpy.__version__) >= Version("2.4"),
    reason="Triton's interpreter before 3.7 cannot run a loop with NumPy 2.4 (triton issue 9171)",
)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
def test_fused_pass_gives_outputs_gradients_and_statistics_of_the_modules(activation: str) -> None:
    # The script shares its reference with the test on a CUDA device.
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    command = [sys.executable, "-W", "ignore", str(INTERPRET), activation]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


def test_kernels_compile_for_a_gpu_of_capability_9_without_one() -> None:
    command = [sys.executable, "-W", "ignore", str(COMPILE)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


def test_on_a_cpu_the_modules_themselves_are_used() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    images = torch.randn(2, 3, 8, 8)
    plain = layers(images)
    with fused_norms(True):
        assert torch.equal(run_layers(layers, images), plain)
    norm = layers[1]
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(norm_activation(norm, nn.ELU(), x, x), nn.ELU()(norm(x) + x))
