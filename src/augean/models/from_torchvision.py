"""Every classification network of torchvision by its name, with outputs for the data's classes."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from augean.models.published_weights import (
    PublishedWeights,
    Transforms,
    find_published_weights,
    find_transforms,
)
from augean.suggestions import closest, did_you_mean

INCEPTION_ARGUMENTS = {
    # Without them the training returns further outputs, which only a loss of their own can use.
    "aux_logits": False,
    # Weights of these networks were trained on inputs from -1 to 1. They turn images with
    # ImageNet's mean and standard deviation into such inputs themselves.
    "transform_input": True,
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": INCEPTION_ARGUMENTS,
    "inception_v3": INCEPTION_ARGUMENTS,
}
"""Arguments that differ from the defaults of torchvision's functions."""


class TorchvisionNetwork(nn.Module):
    """A network of torchvision, as its function builds it without weights.

    A call returns torchvision's own network, so that names of modules and weights are those of
    torchvision: `best.pt` of a run can be loaded there. Only the initial weights are drawn from
    Augean's seed; what is drawn is up to torchvision.

    Args:
        num_classes: number of outputs.
        activation: not used; the network has its own.
        channels: not used, likewise.
        dropout: probability of the network's own dropout layers before its last layers, in place
            of torchvision's: 0 switches them off. Dropout elsewhere is an argument of the network.
        name: of the network, such as "resnet50".
        arguments: further arguments of torchvision's function.

    Raises:
        ValueError: for an unknown name, or dropout where the network has no such layer.
    """

    native_groups = ("activation", "width")

    def __new__(
        cls,
        num_classes: int,
        activation: Callable[[], nn.Module],
        channels: int | None,
        dropout: float,
        *,
        name: str,
        **arguments: Any,
    ) -> Any:
        cls.check(name)
        network = _build(name, num_classes=num_classes, **ARGUMENTS.get(name, {}) | arguments)
        _set_dropout(network, name, dropout)
        return network

    @staticmethod
    def find_published(weights: str, *, name: str, **_: Any) -> PublishedWeights:
        """Return the file of weights that torchvision publishes, see `find_published_weights`."""
        return find_published_weights(name, weights)

    @staticmethod
    def find_transforms(weights: str, *, name: str, **_: Any) -> Transforms:
        """Return how images are prepared for published weights, see `find_transforms`."""
        return find_transforms(name, weights)

    @staticmethod
    def check(name: str, **arguments: Any) -> None:
        """Refuse an unknown name, and arguments that would load weights, before any work.

        Raises:
            ValueError: with the name that may be meant, or the key for weights.
        """
        for key in ("weights", "pretrained"):
            # torchvision would load them unseen by the address, and for its own classes alone.
            if arguments.get(key):
                raise ValueError(
                    f"{key}={arguments[key]}: weights are no argument of a network; leave it out"
                    " and set model.weights=DEFAULT"
                )
        names = network_names()
        if name not in names:
            raise ValueError(
                f"name={name}: no classification network of torchvision"
                f"{did_you_mean(closest(name, names))};"
                " torchvision.models.list_models(module=torchvision.models) lists them"
            )


def network_names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _build(name: str, **arguments: Any) -> nn.Module:
    import torchvision

    build = torchvision.models.get_model_builder(name)
    with warnings.catch_warnings():
        # GoogLeNet and Inception announce another initialisation for a future release.
        warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
        try:
            network: nn.Module = build(**arguments)
        except NotImplementedError:
            # RegNet computes its widths with tensors, which have no values on the meta device.
            device = torch.get_default_device()
            with torch.device("cpu"):
                network = build(**arguments)
            network = network.to(device)
    return network


def _set_dropout(network: nn.Module, name: str, dropout: float) -> None:
    """Set the probability of the dropout layers before the last layers.

    Raises:
        ValueError: when there is none and `dropout` is not 0.
    """
    layers = []
    for module_name, module in network.named_modules():
        is_before_head = module_name.split(".")[0] in ("classifier", "dropout")
        if is_before_head and isinstance(module, nn.Dropout):
            layers.append(module)
    if dropout and not layers:
        raise ValueError(
            f"regularization.dropout={dropout}: {name} has no dropout before its last layers; use"
            " regularization.dropout=0"
        )
    for layer in layers:
        layer.p = dropout
