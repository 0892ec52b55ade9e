"""Compare the fused pass with the modules in float64; see test_norm_activation.py.

To be run with TRITON_INTERPRET=1, which needs no GPU.
"""

import sys
from copy import deepcopy

import torch
from torch import Tensor, nn

from augean.models.fused_norm import fused_norm_activation

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(0.7),
}
# Rows that do not fill a tile; several blocks; more columns than one tile has.
SHAPES = [(2, 3, 5, 5), (6, 16, 20, 20), (3, 72, 4, 4)]


def make_leaf(*shape: int) -> Tensor:
    # A mean far from zero shows where sums of squares cancel.
    x = 3 * torch.randn(shape) + 20
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def compare(activation: nn.Module, shape: tuple[int, ...], with_residual: bool) -> None:
    fused_norm = nn.BatchNorm2d(shape[1], momentum=0.3)
    nn.init.normal_(fused_norm.weight)
    nn.init.normal_(fused_norm.bias)
    exact_norm = deepcopy(fused_norm).double()
    x = make_leaf(*shape)
    residual = (make_leaf(*shape) - 20).detach().requires_grad_() if with_residual else None
    gradient = torch.randn(shape)
    results = []
    for norm, is_fused in ((exact_norm, False), (fused_norm, True)):
        inputs = [x] if residual is None else [x, residual]
        if is_fused:
            y = fused_norm_activation(norm, activation, x, residual)
        else:
            total = norm(x.double())
            if residual is not None:
                total = total + residual
            y = activation(total)
        gradients = torch.autograd.grad(y, [*inputs, norm.weight, norm.bias], gradient.to(y.dtype))
        results.append([y.detach(), *gradients, norm.running_mean, norm.running_var])
        assert norm.num_batches_tracked == 1
    for exact, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused.double(), exact.double(), rtol=2e-5, atol=2e-4)


torch.manual_seed(0)
for shape in SHAPES:
    for with_residual in (False, True):
        compare(ACTIVATIONS[sys.argv[1]], shape, with_residual)
