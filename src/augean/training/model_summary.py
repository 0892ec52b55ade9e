"""Describe a network: its modules in order of execution, their output shapes and parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from augean.config.schema import Config
from augean.errors import ConfigError
from augean.training.build import build_model

_described: dict[str, dict[str, Any]] = {}
"""Descriptions by what they depend on.

The runs of a sweep share few networks, and a description costs half as much as a tiny run.
"""


def describe_model(config: Config, num_classes: int) -> dict[str, Any]:
    """Return the modules in order of execution, with output shapes and parameter counts.

    Raises:
        ConfigError: when the network cannot be built or cannot take the data set's images.
    """
    size, dropout = config.dataset.image_size, config.regularization.dropout
    key = repr((num_classes, size, config.model, config.activation, config.width, dropout))
    if key not in _described:
        _described[key] = _describe(config, num_classes)
    return _described[key]


def _describe(config: Config, num_classes: int) -> dict[str, Any]:
    """Run the network on the meta device, which needs no memory and no arithmetic."""
    shape = [3, config.dataset.image_size, config.dataset.image_size]
    with torch.device("meta"):
        network = build_model(config, num_classes).eval()
        modules: list[dict[str, Any]] = []

        running: list[dict[str, Any]] = []  # of the modules whose calls have not ended

        # Two hooks a module: `enter` sets its place in the order of execution, before its children,
        # and `leave` knows the shape of its output. A module that is used twice has two entries.
        def note(name: str, module: nn.Module) -> None:
            def enter(_module: nn.Module, _inputs: Any) -> None:
                entry: dict[str, Any] = {
                    "name": name,
                    "type": type(module).__name__,
                    "depth": name.count(".") + 1,
                }
                modules.append(entry)
                running.append(entry)

            def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
                entry = running.pop()
                tensor = _first_tensor(output)
                entry["output"] = [] if tensor is None else list(tensor.shape[1:])
                entry["parameters"] = sum(parameter.numel() for parameter in module.parameters())

            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)

        for name, module in network.named_modules():
            if name:  # the network itself has none
                note(name, module)
        try:
            output = network(torch.empty(1, *shape))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(
                f"model={config.model.name}: cannot take images of shape {shape}: {error}"
            ) from error
    if not isinstance(output, Tensor):
        raise ConfigError(
            f"model={config.model.name}: returns a {type(output).__name__}, not a tensor"
            f" [N, {num_classes}]; let its forward return the logits alone"
        )
    if tuple(output.shape) != (1, num_classes):
        raise ConfigError(
            f"model={config.model.name}: gives {list(output.shape[1:])} numbers for an image, not"
            f" {num_classes}, one per class of {config.dataset.name}"
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"name": config.model.name, "parameters": parameters, "input": shape, "modules": modules}


def _first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor in what a module returns; None where there is none.

    Attention, for one, returns a tuple, and torchvision's `IntermediateLayerGetter` a mapping.
    """
    if isinstance(output, Tensor):
        return output
    parts: Iterable[Any] = ()
    if isinstance(output, tuple | list):
        parts = output
    elif isinstance(output, Mapping):
        parts = output.values()
    for part in parts:
        tensor = _first_tensor(part)
        if tensor is not None:
            return tensor
    return None
