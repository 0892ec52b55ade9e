"""Describe a network: its modules in order of execution, their output shapes and parameters."""

from typing import Any

import torch
from torch import nn

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

        # Two hooks a module: `enter` sets its place in the order of execution, before its children,
        # and `leave` knows the shape of its output.
        def note(name: str, module: nn.Module) -> None:
            entry: dict[str, Any] = {
                "name": name,
                "type": type(module).__name__,
                "depth": name.count(".") + 1,
            }

            def enter(_module: nn.Module, _inputs: Any) -> None:
                modules.append(entry)

            def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
                # Attention returns its weights too.
                first = output[0] if isinstance(output, tuple) else output
                entry["output"] = list(first.shape[1:])
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
    if tuple(output.shape) != (1, num_classes):
        raise ConfigError(
            f"model={config.model.name}: gives {list(output.shape[1:])} numbers for an image, not"
            f" {num_classes}, one per class of {config.dataset.name}"
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"name": config.model.name, "parameters": parameters, "input": shape, "modules": modules}
