"""Define the Triton kernels of `augean.models.fused_norm`.

Each works on a matrix of `num_rows` rows and `num_columns` columns that is stored row by row: a
feature map in channels_last. All arithmetic is in fp32. A program's tile is `ROWS` x `COLUMNS`, and
`mask` is false where the tile goes beyond the matrix or the block.
"""

import triton
import triton.language as tl


@triton.jit
def sum_blocks(
    x_pointer,
    mean_pointer,
    square_pointer,
    num_rows,
    num_columns,
    rows_per_block,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Store mean and sum of squared deviations of each column over a block of rows.

    Each element of the tile has a running mean and sum over the tiles (Welford 1962), and only in
    the end they are joined (Chan, Golub and LeVeque 1983): a sum over a tile makes all threads of
    the program wait, and a plain sum of squares would cancel where the mean is large beside the
    deviation.
    """
    block = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    first = block * rows_per_block
    end = tl.minimum(first + rows_per_block, num_rows)
    means = tl.zeros([ROWS, COLUMNS], tl.float32)
    squares = tl.zeros([ROWS, COLUMNS], tl.float32)
    count = 0.0
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < end)[:, None] & in_columns[None, :]
        offset = row[:, None] * num_columns + column[None, :]
        x = tl.load(x_pointer + offset, mask=mask, other=0.0).to(tl.float32)
        count += 1.0
        # Beyond the block an element keeps what it has.
        delta = tl.where(mask, x - means, 0.0)
        means += delta * (1.0 / count)
        squares += delta * (x - means)
    # How many tiles had a row of the block at each of their rows.
    later_rows = end - first - tl.arange(0, ROWS)
    counts = (tl.maximum(later_rows + ROWS - 1, 0) // ROWS).to(tl.float32)[:, None]
    mean = tl.sum(means * counts, axis=0) / (end - first)
    deviation = means - mean[None, :]
    square = tl.sum(squares + counts * deviation * deviation, axis=0)
    tl.store(mean_pointer + block * num_columns + column, mean, mask=in_columns)
    tl.store(square_pointer + block * num_columns + column, square, mask=in_columns)


@triton.jit
def join_blocks(
    mean_pointer,
    square_pointer,
    batch_mean_pointer,
    inverse_pointer,
    running_mean_pointer,
    running_var_pointer,
    num_batches_pointer,
    num_rows,
    num_columns,
    rows_per_block,
    num_blocks,
    eps,
    momentum,
    BLOCKS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Join the blocks' statistics: store mean and 1 / standard deviation of each column, and update
    the running statistics as PyTorch does.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    block = tl.arange(0, BLOCKS)
    mask = (block < num_blocks)[:, None] & in_columns[None, :]
    offset = block[:, None] * num_columns + column[None, :]
    means = tl.load(mean_pointer + offset, mask=mask, other=0.0)
    squares = tl.load(square_pointer + offset, mask=mask, other=0.0)
    # The last block may have fewer rows; those after it have none.
    counts = tl.minimum(num_rows - block * rows_per_block, rows_per_block)
    counts = tl.maximum(counts, 0).to(tl.float32)[:, None]
    mean = tl.sum(means * counts, axis=0) / num_rows
    deviation = means - mean[None, :]
    square = tl.sum(tl.where(mask, squares + counts * deviation * deviation, 0.0), axis=0)
    variance = square / num_rows
    tl.store(batch_mean_pointer + column, mean, mask=in_columns)
    tl.store(inverse_pointer + column, 1.0 / tl.sqrt(variance + eps), mask=in_columns)
    # PyTorch normalises by the biased variance, over N, and keeps the unbiased one, over N - 1.
    running_mean = tl.load(running_mean_pointer + column, mask=in_columns)
    running_var = tl.load(running_var_pointer + column, mask=in_columns)
    unbiased = square / (num_rows - 1)
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (unbiased - running_var)
    tl.store(running_mean_pointer + column, running_mean, mask=in_columns)
    tl.store(running_var_pointer + column, running_var, mask=in_columns)
    # One number for all columns: one program counts the batch.
    if tl.program_id(0) == 0:
        tl.store(num_batches_pointer, tl.load(num_batches_pointer) + 1)


@triton.jit
def apply_norm(
    x_pointer,
    residual_pointer,
    y_pointer,
    mean_pointer,
    inverse_pointer,
    weight_pointer,
    bias_pointer,
    num_rows,
    num_columns,
    slope,
    ACTIVATION: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write activation((x - mean) * inverse * weight + bias + residual)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    mask = (row < num_rows)[:, None] & in_columns[None, :]
    offset = row[:, None] * num_columns + column[None, :]
    mean = tl.load(mean_pointer + column, mask=in_columns)
    inverse = tl.load(inverse_pointer + column, mask=in_columns)
    scale = tl.load(weight_pointer + column, mask=in_columns) * inverse
    bias = tl.load(bias_pointer + column, mask=in_columns)
    x = tl.load(x_pointer + offset, mask=mask).to(tl.float32)
    y = (x - mean[None, :]) * scale[None, :] + bias[None, :]
    if HAS_RESIDUAL:
        y += tl.load(residual_pointer + offset, mask=mask).to(tl.float32)
    if ACTIVATION == 0:  # LEAKY_RELU of fused_norm
        y = tl.where(y > 0, y, slope * y)
    else:
        y = tl.where(y > 0, y, slope * (tl.exp(y) - 1.0))
    tl.store(y_pointer + offset, y.to(y_pointer.dtype.element_ty), mask=mask)


@triton.jit
def sum_gradient_blocks(
    gradient_pointer,
    y_pointer,
    x_pointer,
    inner_pointer,
    sum_pointer,
    product_pointer,
    mean_pointer,
    inverse_pointer,
    num_rows,
    num_columns,
    rows_per_block,
    slope,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write `inner`, the gradient before the activation, and store two sums for each block and
    column: of `inner`, and of `inner` times the normalised x.
    """
    block = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    mean = tl.load(mean_pointer + column, mask=in_columns)
    inverse = tl.load(inverse_pointer + column, mask=in_columns)
    first = block * rows_per_block
    end = tl.minimum(first + rows_per_block, num_rows)
    # By the place in the tile, and joined in the end, as in `sum_blocks`.
    gradient_sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    product_sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < end)[:, None] & in_columns[None, :]
        offset = row[:, None] * num_columns + column[None, :]
        gradient = tl.load(gradient_pointer + offset, mask=mask, other=0.0).to(tl.float32)
        y = tl.load(y_pointer + offset, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(x_pointer + offset, mask=mask, other=0.0).to(tl.float32)
        if ACTIVATION == 0:  # LEAKY_RELU of fused_norm
            gradient = tl.where(y > 0, gradient, slope * gradient)
        else:
            # z is the activation's input. For z < 0, y = slope * (exp(z) - 1), so its derivative
            # slope * exp(z) is y + slope.
            gradient = tl.where(y > 0, gradient, (y + slope) * gradient)
        # Rounded before it is summed: the sums and `apply_norm_gradient` see the same numbers.
        inner = gradient.to(inner_pointer.dtype.element_ty)
        tl.store(inner_pointer + offset, inner, mask=mask)
        gradient = inner.to(tl.float32)
        gradient_sums += gradient
        product_sums += gradient * (x - mean[None, :]) * inverse[None, :]
    gradient_sum = tl.sum(gradient_sums, axis=0)
    product_sum = tl.sum(product_sums, axis=0)
    tl.store(sum_pointer + block * num_columns + column, gradient_sum, mask=in_columns)
    tl.store(product_pointer + block * num_columns + column, product_sum, mask=in_columns)


@triton.jit
def join_gradient_blocks(
    sum_pointer,
    product_pointer,
    bias_gradient_pointer,
    weight_gradient_pointer,
    num_columns,
    num_blocks,
    BLOCKS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Add the blocks' sums: the gradients of bias and weight."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    block = tl.arange(0, BLOCKS)
    mask = (block < num_blocks)[:, None] & in_columns[None, :]
    offset = block[:, None] * num_columns + column[None, :]
    gradient_sum = tl.sum(tl.load(sum_pointer + offset, mask=mask, other=0.0), axis=0)
    product_sum = tl.sum(tl.load(product_pointer + offset, mask=mask, other=0.0), axis=0)
    tl.store(bias_gradient_pointer + column, gradient_sum, mask=in_columns)
    tl.store(weight_gradient_pointer + column, product_sum, mask=in_columns)


@triton.jit
def apply_norm_gradient(
    inner_pointer,
    x_pointer,
    x_gradient_pointer,
    mean_pointer,
    inverse_pointer,
    weight_pointer,
    bias_gradient_pointer,
    weight_gradient_pointer,
    num_rows,
    num_columns,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the gradient of x: that of the output less what mean and variance take back."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_columns = column < num_columns
    mask = (row < num_rows)[:, None] & in_columns[None, :]
    offset = row[:, None] * num_columns + column[None, :]
    mean = tl.load(mean_pointer + column, mask=in_columns)
    inverse = tl.load(inverse_pointer + column, mask=in_columns)
    scale = tl.load(weight_pointer + column, mask=in_columns) * inverse
    # The mean and the variance depend on every x of the column. So the gradient loses its own mean,
    # and its part along the normed x.
    mean_gradient = tl.load(bias_gradient_pointer + column, mask=in_columns) / num_rows
    mean_product = tl.load(weight_gradient_pointer + column, mask=in_columns) / num_rows
    gradient = tl.load(inner_pointer + offset, mask=mask).to(tl.float32)
    x = tl.load(x_pointer + offset, mask=mask).to(tl.float32)
    normed = (x - mean[None, :]) * inverse[None, :]
    result = gradient - mean_gradient[None, :] - normed * mean_product[None, :]
    result = scale[None, :] * result
    tl.store(x_gradient_pointer + offset, result.to(x_gradient_pointer.dtype.element_ty), mask=mask)
