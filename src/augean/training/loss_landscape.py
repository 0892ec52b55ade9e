"""The three measures of the loss landscape along a trajectory (Santurkar, Tsipras, Ilyas and Madry
2018, section 3).

A training step has a batch, weights w and a gradient g. On that batch, move to w - s g for several
step sizes s, and measure there (a) the loss, (b) the new gradient's distance and angle to g, and
(c) the effective smoothness: the largest ratio of gradient change to distance moved. All parameters
that are trained take part.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ProbeRow = dict[str, float]


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Restore weights, buffers and gradients, bit for bit, after the block."""
    # Gradients are not copied: nothing in the block writes into them, it may only replace them.
    tensors = [*network.parameters(), *network.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [parameter.grad for parameter in network.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient


def probe(
    network: nn.Module,
    loss_of_batch: Callable[[], Tensor],
    step_sizes: Sequence[float],
    device: torch.device,
) -> list[ProbeRow]:
    """Measure the landscape around the current weights.

    The network and the random streams are left as they were.

    Args:
        network: in training mode, so that batch norm uses the batch's statistics as in the training
            step.
        loss_of_batch: computes the loss of the step's batch; called once per point, each time from
            the same random state, so that augmentation and dropout are the same.
        step_sizes: factors of the gradient, positive and ascending.

    Returns:
        one row for each of 0 and `step_sizes`: `step_size`, `loss`, `gradient_distance` (l2, from
        the gradient at 0), `gradient_cosine` and `smoothness` (distance of the gradients over
        distance moved; NaN at 0).
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    buffers = list(network.buffers())
    # `fork_rng` keeps the CPU's stream in any case.
    other_streams = [] if device.type == "cpu" else [device]
    rows: list[ProbeRow] = []
    with undisturbed(network):
        start = [parameter.detach().clone() for parameter in parameters]
        values_before = [buffer.clone() for buffer in buffers]
        # The gradient at the unmoved weights: that of step size 0, which comes first.
        first_gradient: list[Tensor] | None = None
        for step_size in (0.0, *step_sizes):
            with torch.no_grad():
                if first_gradient is not None:
                    for parameter, value, direction in zip(
                        parameters, start, first_gradient, strict=True
                    ):
                        parameter.copy_(value - step_size * direction)
                # Running statistics do not enter the loss, but must not drift.
                for buffer, value in zip(buffers, values_before, strict=True):
                    buffer.copy_(value)
            # After the block the streams are where they were, so every point starts from the same.
            with torch.random.fork_rng(other_streams, device_type=device.type):
                loss = loss_of_batch()
                # The gradient of a parameter that the network does not use is zero.
                gradient = list(torch.autograd.grad(loss, parameters, materialize_grads=True))
            if first_gradient is None:
                first_gradient = gradient
            rows.append(_compare(step_size, loss, gradient, first_gradient))
    return rows


def _compare(
    step_size: float, loss: Tensor, gradient: list[Tensor], first_gradient: list[Tensor]
) -> ProbeRow:
    """Return the measures at one point, compared with the gradient at the unmoved weights."""

    def dot(left: list[Tensor], right: list[Tensor]) -> float:
        return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum().item()

    # All parameters together are one long vector.
    change = [new - old for new, old in zip(gradient, first_gradient, strict=True)]
    distance = dot(change, change) ** 0.5
    norm = dot(first_gradient, first_gradient) ** 0.5
    new_norm = dot(gradient, gradient) ** 0.5
    # Neither ratio exists where its divisor is 0: at the first point, or with a gradient of zeros.
    cosine = math.nan
    if norm * new_norm:
        cosine = dot(gradient, first_gradient) / (norm * new_norm)
    smoothness = math.nan
    distance_moved = step_size * norm
    if distance_moved:
        smoothness = distance / distance_moved
    return {
        "step_size": step_size,
        "loss": loss.item(),
        "gradient_distance": distance,
        "gradient_cosine": cosine,
        "smoothness": smoothness,
    }
