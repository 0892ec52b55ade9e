"""Fuse batch norm, addition and activation in training into one pass on CUDA, written in Triton.

A feature map [N, C, H, W] in channels_last is a matrix of N * H * W rows and C columns; batch norm
(Ioffe and Szegedy 2015, algorithm 1) needs the mean and the variance of each column. Both
directions have three kernels: one sums blocks of rows, one joins the sums of the blocks, one writes
the result. No kernel uses atomic additions, so the same input always gives the same bits.

All arithmetic is in fp32, whatever the type of the feature map.
"""

from typing import Any

import torch
import triton
from torch import Tensor, nn

from augean.models.norm_kernels import (
    apply_norm,
    apply_norm_gradient,
    join_blocks,
    join_gradient_blocks,
    sum_blocks,
    sum_gradient_blocks,
)

PROGRAMS = 528
"""Blocks of rows and columns that are summed side by side: four for each of 132 multiprocessors."""
TILE = 2048
"""Elements that a program sums at once."""
APPLY_TILE = 4096
"""Elements that a program writes at once."""
COLUMNS = 64
"""Most columns of a tile."""
FINISH_COLUMNS = 8
"""Columns that one program joins: few, as the number of their blocks is large."""
# Codes of the activations. The kernels have them as numbers: they could read a global only if it
# were a tl.constexpr.
LEAKY_RELU = 0
"""x, or slope * x for negative x; ReLU has slope 0."""
ELU = 1
"""x, or slope * (exp(x) - 1) for negative x."""


class _Shape:
    """A feature map as a matrix, and how it is cut into blocks and tiles.

    A kernel runs as many programs side by side, a grid of them. A program that sums has a *block*
    of rows, which it reads *tile* by tile.
    """

    def __init__(self, x: Tensor) -> None:
        self.num_columns = x.shape[1]
        self.num_rows = x.numel() // self.num_columns
        # Triton takes powers of 2 alone as the size of a tile; what lies outside is masked.
        self.columns = min(COLUMNS, triton.next_power_of_2(self.num_columns))
        self.column_tiles = triton.cdiv(self.num_columns, self.columns)
        self.rows = TILE // self.columns
        """Rows of a tile that is summed."""
        # As many blocks as make `PROGRAMS` programs with the tiles of columns beside each other.
        # Blocks are whole tiles, so that there may be fewer of them.
        target_blocks = max(1, PROGRAMS // self.column_tiles)
        row_tiles = triton.cdiv(self.num_rows, self.rows)
        tiles_per_block = triton.cdiv(row_tiles, target_blocks)
        self.rows_per_block = tiles_per_block * self.rows
        self.num_blocks = triton.cdiv(self.num_rows, self.rows_per_block)
        # For each kind of kernel the number of its programs, and the size of their tiles.
        self.sum_grid = (self.num_blocks, self.column_tiles)
        self.sum_tile = {"ROWS": self.rows, "COLUMNS": self.columns}
        self.join_grid = (triton.cdiv(self.num_columns, FINISH_COLUMNS),)
        self.join_tile = {
            "BLOCKS": triton.next_power_of_2(self.num_blocks),
            "COLUMNS": FINISH_COLUMNS,
        }
        apply_rows = APPLY_TILE // self.columns
        self.apply_grid = (triton.cdiv(self.num_rows, apply_rows), self.column_tiles)
        self.apply_tile = {"ROWS": apply_rows, "COLUMNS": self.columns}


class _FusedNormActivation(torch.autograd.Function):
    """The fused pass as an operation of autograd."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        norm: nn.BatchNorm2d,
        activation: int,
        slope: float,
    ) -> Tensor:
        """Return the output; autograd calls this with the arguments of `apply`.

        Args:
            weight, bias: of `norm`, as arguments of their own, so that they get gradients.
            activation: its code.
        """
        shape = _Shape(x)
        mean, inverse = _column_statistics(x, shape, norm)
        y = torch.empty_like(x)
        apply_norm[shape.apply_grid](
            x,
            # A kernel takes a pointer in any case; without a residual this one is not read.
            x if residual is None else residual,
            y,
            mean,
            inverse,
            weight,
            bias,
            shape.num_rows,
            shape.num_columns,
            slope,
            ACTIVATION=activation,
            HAS_RESIDUAL=residual is not None,
            **shape.apply_tile,
        )
        # Not the values before the activation: its derivative follows from `y`, and what is kept
        # until the backward pass takes memory.
        context.save_for_backward(x, y, weight, mean, inverse)
        context.shape = shape
        context.activation = activation
        context.slope = slope
        context.has_residual = residual is not None
        return y

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        """Return the gradients of the arguments of `forward`, from that of its output.

        None stands for arguments that have no gradient.
        """
        x, y, weight, mean, inverse = context.saved_tensors
        shape: _Shape = context.shape
        # The kernels address all matrices in the same way.
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        # For each block, [num_blocks, num_columns]: the sums of the gradient before the activation,
        # and of its product with the normed x.
        sums, products = x.new_empty(
            (2, shape.num_blocks, shape.num_columns), dtype=torch.float32
        ).unbind()
        inner = torch.empty_like(x)  # gradient before the activation: that of the residual too
        x_gradient = torch.empty_like(x)
        weight_gradient = torch.empty_like(weight)
        bias_gradient = torch.empty_like(weight)
        sum_gradient_blocks[shape.sum_grid](
            gradient,
            y,
            x,
            inner,
            sums,
            products,
            mean,
            inverse,
            shape.num_rows,
            shape.num_columns,
            shape.rows_per_block,
            context.slope,
            ACTIVATION=context.activation,
            **shape.sum_tile,
        )
        join_gradient_blocks[shape.join_grid](
            sums,
            products,
            bias_gradient,
            weight_gradient,
            shape.num_columns,
            shape.num_blocks,
            **shape.join_tile,
        )
        apply_norm_gradient[shape.apply_grid](
            inner,
            x,
            x_gradient,
            mean,
            inverse,
            weight,
            bias_gradient,
            weight_gradient,
            shape.num_rows,
            shape.num_columns,
            **shape.apply_tile,
        )
        residual_gradient = inner if context.has_residual else None
        return x_gradient, weight_gradient, bias_gradient, residual_gradient, None, None, None


def _column_statistics(x: Tensor, shape: _Shape, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Compute the batch's statistics, and update the running ones of `norm`.

    Returns:
        The mean of each column, and the inverse of its standard deviation: fp32, [C] each.
    """
    # [num_blocks, num_columns]: means, and sums of squared deviations from them.
    block_means, block_squares = x.new_empty(
        (2, shape.num_blocks, shape.num_columns), dtype=torch.float32
    ).unbind()
    mean, inverse = x.new_empty((2, shape.num_columns), dtype=torch.float32).unbind()
    sum_blocks[shape.sum_grid](
        x,
        block_means,
        block_squares,
        shape.num_rows,
        shape.num_columns,
        shape.rows_per_block,
        **shape.sum_tile,
    )
    join_blocks[shape.join_grid](
        block_means,
        block_squares,
        mean,
        inverse,
        norm.running_mean,
        norm.running_var,
        norm.num_batches_tracked,
        shape.num_rows,
        shape.num_columns,
        shape.rows_per_block,
        shape.num_blocks,
        norm.eps,
        norm.momentum,
        **shape.join_tile,
    )
    return mean, inverse


def fused_norm_activation(
    norm: nn.BatchNorm2d, activation: nn.Module, x: Tensor, residual: Tensor | None = None
) -> Tensor:
    """Return `activation(norm(x) + residual)` in training, and update the running statistics.

    `augean.models.norm_activation.can_fuse` says what can be given; it is not checked here.

    Args:
        x: [N, C, H, W] in channels_last.
        residual: of the shape, type and layout of `x`; None adds nothing.
    """
    if isinstance(activation, nn.ELU):
        code = ELU
        slope = float(activation.alpha)
    elif isinstance(activation, nn.LeakyReLU):
        code = LEAKY_RELU
        slope = float(activation.negative_slope)
    else:  # ReLU
        code = LEAKY_RELU
        slope = 0.0
    y: Tensor = _FusedNormActivation.apply(x, norm.weight, norm.bias, residual, norm, code, slope)
    return y
