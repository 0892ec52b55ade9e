"""The fused pass of batch norm, addition and activation beside the modules in float64."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from augean.models.fused_norm import fused_norm_activation

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(0.7),
}


def compare_with_modules(
    activation: nn.Module,
    shape: tuple[int, int, int, int],
    *,
    with_residual: bool,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what the fused pass gives and what the modules give in float64, by name.

    Both get the same numbers, of type `dtype`. The names are those of the output, of the gradients
    and of the running statistics.
    """
    fused_norm = nn.BatchNorm2d(shape[1], momentum=0.3)
    nn.init.normal_(fused_norm.weight)
    nn.init.normal_(fused_norm.bias)
    fused_norm = fused_norm.to(device)
    exact_norm = deepcopy(fused_norm).double()
    # A mean far from zero shows where sums of squares cancel.
    inputs = {"x": _feature_map(shape, dtype, device, mean=20)}
    if with_residual:
        inputs["residual"] = _feature_map(shape, dtype, device, mean=0)
    gradient = _feature_map(shape, dtype, device, mean=0)

    fused_inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    fused_output = fused_norm_activation(fused_norm, activation, **fused_inputs)
    exact_inputs = {
        name: value.detach().double().requires_grad_() for name, value in inputs.items()
    }
    exact_sum = exact_norm(exact_inputs["x"])
    if with_residual:
        exact_sum = exact_sum + exact_inputs["residual"]
    exact_output = activation(exact_sum)

    fused = _results(fused_output, fused_inputs, fused_norm, gradient)
    exact = _results(exact_output, exact_inputs, exact_norm, gradient.double())
    return {name: (fused[name], exact[name]) for name in exact}


def _feature_map(shape: tuple[int, ...], dtype: torch.dtype, device: str, *, mean: float) -> Tensor:
    x = (3 * torch.randn(shape) + mean).to(device, dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _results(
    output: Tensor, inputs: dict[str, Tensor], norm: nn.BatchNorm2d, gradient: Tensor
) -> dict[str, Tensor]:
    leaves = {**inputs, "weight": norm.weight, "bias": norm.bias}
    gradients = torch.autograd.grad(output, list(leaves.values()), gradient)
    assert norm.num_batches_tracked == 1
    results = {"output": output.detach()}
    for name, value in zip(leaves, gradients, strict=True):
        results[f"gradient of {name}"] = value
    assert norm.running_mean is not None
    assert norm.running_var is not None
    results["running mean"] = norm.running_mean
    results["running variance"] = norm.running_var
    return results
