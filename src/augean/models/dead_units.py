"""Count dead units: channels of an activation that are zero on every image of a data set.

A ReLU whose input is negative for all images passes no gradient, so it stays as it is ("dying
ReLU"). The share of such channels per layer is recorded with the test scores.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

NEGATIVE_INPUTS = (-1.0, -4.0)
"""An activation that maps one of these to exactly 0 can die: ReLU, ReLU6, Hardswish, ...

Smaller inputs are not tried: GELU rounds to 0 there in fp32, yet it cannot die, as its gradient
returns when its input grows.
"""


class DeadUnits:
    """Notes which channels of each activation were ever different from zero."""

    def __init__(self) -> None:
        self.alive: dict[str, Tensor] = {}
        """Module name, with #2 for its second place in the network, to bool [C], on the device of
        the network."""

    def note(self, name: str, output: Tensor) -> None:
        """Take note of an output [N, C, ...]."""
        # A channel is alive where any image, at any place, has a value other than 0.
        other_dimensions = [axis for axis in range(output.dim()) if axis != 1]
        nonzero = output.detach().ne(0).any(dim=other_dimensions)  # [C]
        before = self.alive.get(name)
        self.alive[name] = nonzero if before is None else before | nonzero

    def shares(self) -> dict[str, float]:
        """Return the share of dead channels of each layer, in order of execution, 0 to 1."""
        shares = {}
        for name, alive in self.alive.items():
            # On the CPU, as Apple's device has no float64.
            shares[name] = 1 - alive.cpu().double().mean().item()
        return shares


@contextmanager
def count_dead_units(network: nn.Module, activation: type[nn.Module]) -> Iterator[DeadUnits]:
    """Watch the network's activations during one pass over a data set.

    Costs one comparison and one reduction an activation and batch, without waiting for the device.

    Args:
        network: in evaluation mode.
        activation: class of the modules to watch.
    """
    counter = DeadUnits()
    # A module may be used at several places, whose channels have nothing in common.
    num_calls: Counter[str] = Counter()

    def begin_pass(_network: nn.Module, _inputs: object) -> None:
        num_calls.clear()

    handles = [network.register_forward_pre_hook(begin_pass)]
    for name, module in network.named_modules():
        if isinstance(module, activation) and can_be_zero(module):
            # The default argument keeps the name of this round of the loop.
            def note(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                num_calls[name] += 1
                place = name if num_calls[name] == 1 else f"{name}#{num_calls[name]}"
                counter.note(place, output)

            handles.append(module.register_forward_hook(note))
    try:
        yield counter
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def can_be_zero(module: nn.Module) -> bool:
    """Return whether an activation maps a negative input to exactly 0.

    A module with weights of its own, such as PReLU, counts as one that does not: its weights belong
    to channels, which the inputs tried here do not have. So does one that takes only images, such
    as Softmax2d.
    """
    if next(module.parameters(), None) is not None:
        return False
    buffer = next(module.buffers(), None)
    device = None if buffer is None else buffer.device
    try:
        outputs = module(torch.tensor(NEGATIVE_INPUTS, device=device))
        return bool((outputs == 0).any())
    except Exception:  # a user's own class may raise anything
        return False
