"""The three measures of the loss landscape along a trajectory (Santurkar, Tsipras, Ilyas and Madry
2018, section 3).

At a training step, on the step's batch and from the step's weights w with gradient g, move to w - s
g for a range of step sizes s and look at the loss (a), at the new gradient's distance and angle to
g (b), and at the largest ratio of gradient change to distance moved, the effective smoothness (c).
All parameters take part.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ProbeRow = dict[str, float]


@contextmanager
def undisturbed(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Weights, buffers, gradients and random streams afterwards are bit for bit what they were
    before.
    """
    tensors = [*network.parameters(), *network.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [parameter.grad for parameter in network.parameters()]
    streams = _random_state(device)
    try:
        yield
    finally:
        _set_random_state(streams, device)
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
    """Measure the landscape around the current weights; the network is left as it was.

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
    rows: list[ProbeRow] = []
    with undisturbed(network, device):
        start = [parameter.detach().clone() for parameter in parameters]
        values_before = [buffer.clone() for buffer in buffers]
        streams = _random_state(device)
        origin: list[Tensor] = []
        for step_size in (0.0, *step_sizes):
            with torch.no_grad():
                if origin:
                    for parameter, value, direction in zip(parameters, start, origin, strict=True):
                        parameter.copy_(value - step_size * direction)
                for buffer, value in zip(buffers, values_before, strict=True):
                    buffer.copy_(
                        value
                    )  # running statistics do not enter the loss, but must not drift
            _set_random_state(streams, device)
            loss = loss_of_batch()
            gradient = list(torch.autograd.grad(loss, parameters))
            origin = origin or gradient
            rows.append(_compare(step_size, loss, gradient, origin))
    return rows


def _compare(
    step_size: float, loss: Tensor, gradient: list[Tensor], origin: list[Tensor]
) -> ProbeRow:
    def dot(left: list[Tensor], right: list[Tensor]) -> float:
        return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum().item()

    change = [new - old for new, old in zip(gradient, origin, strict=True)]
    distance, norm, new_norm = (dot(vector, vector) ** 0.5 for vector in (change, origin, gradient))
    moved = step_size * norm
    return {
        "step_size": step_size,
        "loss": loss.item(),
        "gradient_distance": distance,
        "gradient_cosine": dot(gradient, origin) / (norm * new_norm)
        if norm * new_norm
        else float("nan"),
        "smoothness": distance / moved if moved else float("nan"),
    }


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    own = {"cuda": lambda: torch.cuda.get_rng_state(device), "mps": torch.mps.get_rng_state}.get(
        device.type
    )
    return torch.get_rng_state(), own() if own else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
    elif state[1] is not None:
        torch.mps.set_rng_state(state[1])
