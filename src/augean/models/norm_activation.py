"""Run batch norm, addition and activation: as three modules, or on CUDA as one fused pass.

As modules they read and write every activation several times, and on a GPU that takes about as long
as the convolutions (benchmarks/NOTES.md). `augean.models.fused_norm` does the same in one pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# A context and not an argument of the networks: whether a pass is fused is a matter of the training
# step, and it must not be part of the model's config.
_fuses: ContextVar[bool] = ContextVar("fuses", default=False)


@contextmanager
def fused_norms(enabled: bool) -> Iterator[None]:
    """Let the networks of this package use fused passes inside the block, where these can be."""
    token = _fuses.set(enabled)
    try:
        yield
    finally:
        _fuses.reset(token)


def norm_activation(
    norm: nn.Module, activation: nn.Module, x: Tensor, residual: Tensor | None = None
) -> Tensor:
    """Return `activation(norm(x) + residual)`, of the shape of `x`.

    Args:
        x: [N, C, H, W].
        residual: of the shape of `x`; None adds nothing.
    """
    if may_fuse() and can_fuse(norm, activation, x, residual):
        # Triton comes with torch for CUDA and is not there on other machines.
        from augean.models.fused_norm import fused_norm_activation

        assert isinstance(norm, nn.BatchNorm2d)
        return fused_norm_activation(norm, activation, x, residual)
    y: Tensor = norm(x)
    if residual is not None:
        y = y + residual
    y = activation(y)
    return y


def run_layers(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Return `layers(x)`, with fused passes where a batch norm is followed by an activation."""
    if not may_fuse():
        y: Tensor = layers(x)
        return y
    modules = list(layers)
    index = 0
    # Step over two modules where both are done at once.
    while index < len(modules):
        if isinstance(modules[index], nn.BatchNorm2d) and index + 1 < len(modules):
            x = norm_activation(modules[index], modules[index + 1], x)
            index += 2
        else:
            x = modules[index](x)
            index += 1
    return x


def may_fuse() -> bool:
    """Tell whether `fused_norms` allows a fused pass here."""
    # The compiler fuses by itself. It is asked first: torch 2.11 cannot trace a context variable,
    # and would break the network into one graph for each layer.
    return not torch.compiler.is_compiling() and _fuses.get()


def can_fuse(norm: nn.Module, activation: nn.Module, x: Tensor, residual: Tensor | None) -> bool:
    """Tell whether one fused pass gives what the modules would give, up to rounding.

    The backward pass finds the activation's derivative from its output, which ReLU, LeakyReLU and
    ELU allow. fp32 stays with PyTorch's own kernels, as it is what the others are compared with.
    """
    # `type`, not isinstance: a subclass may do something else in its forward pass.
    is_plain_norm = (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
    )
    has_fitting_input = (
        x.is_cuda
        and x.dtype in (torch.bfloat16, torch.float16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() < 2**31  # the kernels count in 32 bits
        and x.numel() > x.shape[1]  # the module refuses one value a channel
    )
    has_fitting_residual = residual is None or (
        residual.dtype == x.dtype
        and residual.shape == x.shape
        and residual.is_contiguous(memory_format=torch.channels_last)
    )
    return (
        is_plain_norm
        and is_known_activation(activation)
        and has_fitting_input
        and has_fitting_residual
        # Hooks must see the modules' own inputs and outputs.
        and not has_hooks(norm)
        and not has_hooks(activation)
    )


def is_known_activation(activation: nn.Module) -> bool:
    """Tell whether the activation's derivative follows from its output."""
    if type(activation) is nn.ReLU:
        return True
    if type(activation) is nn.LeakyReLU:
        # With a negative slope a positive output could come from either side of 0.
        return activation.negative_slope >= 0
    return type(activation) is nn.ELU and activation.alpha >= 0


def has_hooks(module: nn.Module) -> bool:
    """Tell whether anything watches the module's inputs, outputs or gradients."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
