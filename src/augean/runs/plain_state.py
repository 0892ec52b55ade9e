"""Check what a custom loop saves, so that each of its checkpoints can be loaded again.

A checkpoint is read by `torch.load(weights_only=True)`, which can run no code and so refuses most
types; what it refuses is found here when it is saved, and not on the day when it is needed.
"""

import copy
from collections import Counter, OrderedDict
from typing import Any

import numpy
import torch

from augean.errors import AugeanError

PLAIN_TYPES = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    torch.Tensor,
    torch.nn.Parameter,
    torch.Size,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.qscheme,
    torch.UntypedStorage,
)
"""Types beside containers of which torch loads each value, but none of a subclass."""


def plain_state(value: Any, place: str = "state") -> Any:
    """Return a state in which numbers of NumPy are Python's; the rest is the same, not copied.

    Args:
        place: of the value in the whole state, such as `state['best']`.

    Raises:
        AugeanError: names the place of the first value that torch would not load.
    """
    # `max(best, numpy.mean(scores))` is such a number, whatever `best` was at first.
    if isinstance(value, numpy.generic):
        value = value.item()
    if type(value) in PLAIN_TYPES:
        return value
    # These are the types that torch loads, other subclasses are not.
    if type(value) in (dict, OrderedDict, Counter):
        return _plain_dict(value, place)
    if type(value) in (list, tuple, set):
        members = [plain_state(member, f"{place}[{i}]") for i, member in enumerate(value)]
        is_same = all(new is old for new, old in zip(members, value, strict=True))
        return value if is_same else type(value)(members)
    raise AugeanError(
        f"run.save: {place}: {_advise(value)}; only tensors, numbers, text, bytes, and lists and"
        " dictionaries of them can be kept"
    )


def _plain_dict(value: dict[Any, Any], place: str) -> dict[Any, Any]:
    """Return a dictionary with plain keys and values."""
    items = {}
    is_same = True
    for key, member in value.items():
        new_key = plain_state(key, f"{place}, key {key!r}")
        items[new_key] = plain_state(member, f"{place}[{new_key!r}]")
        is_same = is_same and new_key is key and items[new_key] is member
    if is_same:
        return value
    # A copy keeps the type, and the versions that a network's state dict has as an attribute.
    plain = copy.copy(value)
    plain.clear()
    plain.update(items)
    return plain


def _advise(value: Any) -> str:
    """Return what a value is, and what can be kept in its place."""
    kind = type(value).__name__
    if isinstance(value, numpy.ndarray):
        return "a NumPy array: keep torch.from_numpy(...) of it"
    if isinstance(value, torch.Tensor):
        return f"a tensor of the class {kind}: keep its as_subclass(torch.Tensor)"
    if isinstance(value, dict):
        return f"of type {kind}: keep dict(...) of it"
    if hasattr(value, "state_dict"):
        return f"of type {kind}: keep its state_dict()"
    return f"of type {kind}"
