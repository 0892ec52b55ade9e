"""Load weights into a network that may have other classes than the one they come from."""

import importlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augean.regular_files import WEIGHTS_BYTES, open_regular, read_regular
from augean.system_errors import require_packages

MAX_NAMED = 3
"""Weights that a message names of each kind."""
AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""Parts of GoogLeNet and Inception that are only for their training by torchvision."""
OLD_DENSENET_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)")
"""Names of weights in torchvision's files of DenseNets: norm.1 is norm1 by now."""
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before the names of all weights."""


def find_head(network: nn.Module) -> str:
    """Return the name of the layer that gives the outputs: the last convolution or linear layer.

    Raises:
        ValueError: when the network has no such layer.
    """
    head: str | None = None
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            head = name  # until a later one comes
    if head is None:
        raise ValueError("the network has no linear layer and no convolution")
    return head


def check_head(network: nn.Module, classes: Sequence[str]) -> None:
    """Refuse a network whose last layer is not its head.

    Raises:
        ValueError: when that layer gives another number of outputs than there are classes.
    """
    head = find_head(network)
    layer = network.get_submodule(head)
    num_outputs = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
    if num_outputs != len(classes):
        raise ValueError(
            f"{head}, the last layer of the network, has {num_outputs} outputs for {len(classes)}"
            " classes; assign the layer that gives the outputs last in the network's __init__"
        )


def load_state(
    network: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True
) -> tuple[list[str], list[str]]:
    """Load a state dict that may have lost the versions of its modules.

    Augean stores plain dictionaries, which have no versions. Without a version MNASNet would take
    the weights for those of its first version, which had other layers.

    Returns:
        The names of missing weights and of those that the network does not have.

    Raises:
        RuntimeError: when the weights do not fit.
    """
    state = OrderedDict(weights)
    # torch keeps the versions in an attribute of its state dicts, `_metadata`.
    versions = vars(weights if hasattr(weights, "_metadata") else network.state_dict())
    vars(state).update(versions)
    missing, unexpected = network.load_state_dict(state, strict=strict)
    return missing, unexpected


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict from a file, with tensors on the CPU; runs no code from it.

    Raises:
        ValueError: when the file is not a state dict.
        SetupError: when the package that reads a .safetensors file is not installed.
    """
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    else:
        content = _read_torch(path)
    if not _is_state(content):
        raise ValueError(
            f"{path} must hold a state dict, names with tensors, and nothing else"
            f"{_state_inside(content)}"
        )
    return content  # type: ignore[no-any-return]


def _read_torch(path: Path) -> Any:
    """Read what torch.save has written.

    Raises:
        ValueError: when it is something else, or holds more than plain values and tensors.
    """
    try:
        with open_regular(path, WEIGHTS_BYTES) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that holds something else
        # Its messages have many lines, and advise to run the code of the file.
        objects = _named_objects(path)
        if objects:
            raise ValueError(
                f"{path} holds objects of Python, such as {objects[0]}; of a whole network save"
                " the state dict alone: torch.save(network.state_dict(), file)"
            ) from error
        raise ValueError(
            f"{path} cannot be read as a file of weights: torch.save has not written it, or it is"
            " damaged; give a file with a state dict, such as a run's best.pt"
        ) from error


def _named_objects(path: Path) -> list[str]:
    """Return the classes and functions that a file of torch.save names, other than torch's first.

    Runs no code of the file.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # it is not such a file, or is damaged
        return []
    return sorted(names, key=lambda name: (name.startswith("torch."), name))


def _read_safetensors(path: Path) -> Any:
    require_packages("safetensors", extra="export")
    safetensors: Any = importlib.import_module("safetensors.torch")
    try:
        return safetensors.load(read_regular(path, WEIGHTS_BYTES))
    except Exception as error:  # the package has exceptions of its own
        raise ValueError(
            f"{path} cannot be read as a file of safetensors: it is damaged, or of another kind;"
            " give a run's best.pt"
        ) from error


def _is_state(content: Any) -> bool:
    """Return whether content is a state dict with weights in it."""
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(key, str) and isinstance(item, Tensor) for key, item in content.items())


def _state_inside(content: Any) -> str:
    """Say which entry of a checkpoint is a state dict; "" where none is."""
    if not isinstance(content, Mapping):
        return ""
    for name, value in content.items():
        if isinstance(name, str) and _is_state(value):
            return f"; its entry {name} is one: save that alone with torch.save"
    return ""


def load_pretrained(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    classes: Sequence[str],
    weights_classes: Sequence[str],
) -> str | None:
    """Load weights, all but those of the head where they are of other classes.

    Args:
        weights: the state dict of an equal network, up to the number of its outputs.
        classes: names of the network's classes.
        weights_classes: those of the weights; empty where they are not known. Then the head is
            loaded if it has as many outputs.

    Returns:
        The name of the head that was left as it is; None where all weights were loaded.

    Raises:
        ValueError: names weights that do not fit, or a head that cannot be left as it is.
    """
    chosen, new_head = choose_weights(network, weights, classes, weights_classes)
    load_state(network, chosen, strict=False)
    return new_head


def choose_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    classes: Sequence[str],
    weights_classes: Sequence[str],
) -> tuple[Mapping[str, Tensor], str | None]:
    """Return the weights that `load_pretrained` loads, and the name of the head that it leaves.

    The network may be on the meta device, without any memory for it.

    Raises:
        ValueError: as `load_pretrained`.
    """
    own = network.state_dict()
    adapted = _adapt(weights, own)
    head = find_head(network)
    head_names = {name for name in own if name.startswith(f"{head}.")}
    # 1. Decide whether the head is for the same classes.
    has_other_classes = bool(weights_classes) and tuple(weights_classes) != tuple(classes)
    has_other_outputs = any(
        name in adapted and _fits_but_for_outputs(adapted[name], own[name]) for name in head_names
    )
    # 2. If not, nothing of it is loaded, and nothing of it is missing.
    keeps_head = has_other_classes or has_other_outputs
    not_needed: set[str] = set()
    if keeps_head:
        check_head(network, classes)
        not_needed = head_names
        for name in head_names:
            adapted.pop(name, None)
    # 3. All other weights must fit.
    _check_weights(adapted, own, not_needed)
    return adapted, head if keeps_head else None


def _check_weights(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], not_needed: Set[str]
) -> None:
    """Refuse weights that do not fit the network.

    Args:
        own: the network's weights.
        not_needed: names of weights that may be missing.

    Raises:
        ValueError: names them.
    """
    shapes = []
    for name, value in weights.items():
        if name in own and own[name].shape != value.shape:
            shapes.append(f"{name} {list(value.shape)} for {list(own[name].shape)}")
    missing = []
    for name in own:
        # Old files lack the counters of batch norm, which nothing needs.
        is_counter = name.endswith(".num_batches_tracked")
        if name not in weights and name not in not_needed and not is_counter:
            missing.append(name)
    unexpected = [name for name in weights if name not in own]
    problems = {"missing": missing, "not in the network": unexpected, "another shape": shapes}
    texts = [f"{what}: {_list_names(names)}" for what, names in problems.items() if names]
    if texts:
        raise ValueError("; ".join(texts))


def _adapt(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """Return the weights under the names of the network, without auxiliary parts."""
    adapted: OrderedDict[str, Tensor] = OrderedDict()
    wrapper = _find_wrapper(weights, own)
    for name, value in weights.items():
        inner_name = name.removeprefix(wrapper)
        old_name = OLD_DENSENET_NAME.fullmatch(inner_name)
        new_name = f"{old_name[1]}{old_name[2]}" if old_name else inner_name
        if new_name not in own and inner_name.split(".")[0] in AUXILIARY:
            continue
        adapted[new_name] = value
    # The versions of the modules, see `load_state`; a wrapper's are under other names.
    if hasattr(weights, "_metadata") and not wrapper:
        vars(adapted).update(vars(weights))
    return adapted


def _find_wrapper(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Return what a wrapper of the network has put before the names of all weights; "" if none."""
    for wrapper in WRAPPERS:
        in_all = all(name.startswith(wrapper) for name in weights)
        in_own = any(name.startswith(wrapper) for name in own)
        if in_all and not in_own:
            return wrapper
    return ""


def _fits_but_for_outputs(theirs: Tensor, own: Tensor) -> bool:
    """Return whether two tensors differ in the first length alone, the number of outputs."""
    return theirs.shape != own.shape and theirs.shape[1:] == own.shape[1:]


def _list_names(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    text = ", ".join(names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{text} and {more} more" if more > 0 else text
