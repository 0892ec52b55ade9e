"""Freeze a part of a network: its weights and the statistics of its batch norm stay as they are."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from augean.models.pretrained import find_head
from augean.suggestions import closest, did_you_mean

UNTIL = "until "
"""`until <module>` freezes that module and all before it."""


def frozen_modules(network: nn.Module, freeze: str) -> list[nn.Module]:
    """Return the modules whose own weights are frozen.

    Args:
        freeze: "none"; "backbone", all but the head; or "until <module>", that module and all that
            the network lists before it. Networks list their modules in the order of execution.

    Raises:
        ValueError: when there is no such module, or nothing would be left to train.
    """
    if freeze == "none":
        return []
    modules = dict(network.named_modules())
    head = find_head(network)
    if freeze == "backbone":
        return [module for name, module in modules.items() if name != head]
    target = freeze.removeprefix(UNTIL)
    names = list(modules)
    if target not in names or not target:
        raise ValueError(
            f"the network has no module {target}{did_you_mean(closest(target, names))}"
        )
    # The parts of a module follow it: the last name with its prefix is the last one to freeze.
    last = 0
    for index, name in enumerate(names):
        if f"{name}.".startswith(f"{target}."):
            last = index
    frozen_names = names[: last + 1]
    if head in frozen_names:
        raise ValueError(f"{target} is or holds the head {head}: nothing would be left to train")
    return [modules[name] for name in frozen_names]


def freeze_part(network: nn.Module, freeze: str) -> None:
    """Switch off the gradients of the frozen part's weights.

    Raises:
        ValueError: for the reasons that `frozen_modules` gives.
    """
    for module in frozen_modules(network, freeze):
        # Its own weights alone: a part of it may not be frozen, such as the head in the network.
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


def frozen_norms(network: nn.Module, freeze: str) -> list[nn.Module]:
    """Return the batch norms of the frozen part, which stay in evaluation mode.

    In training mode their running statistics would change.
    """
    modules = frozen_modules(network, freeze)
    return [module for module in modules if isinstance(module, _BatchNorm)]
