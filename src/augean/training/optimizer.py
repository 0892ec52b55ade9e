"""Build the optimizer that a config names, and refuse one that cannot make a training step."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from augean.config.instantiate import check_arguments, find_class
from augean.config.schema import Config
from augean.errors import ConfigError
from augean.models.pretrained import find_head

ON_CUDA: dict[type, dict[str, Any]] = {
    torch.optim.SGD: {"fused": True},
    torch.optim.Adam: {"fused": True, "capturable": True},
    torch.optim.AdamW: {"fused": True, "capturable": True},
    torch.optim.RMSprop: {"foreach": True, "capturable": True},
}
"""The fastest form of each optimizer whose step can be captured in a CUDA graph.

RMSprop has no fused form. Adagrad reads its step count on the host, so it cannot be captured.
"""
DEVICE_ARGUMENTS = {"foreach", "fused", "capturable"}
"""Arguments of torch's optimizers that some devices do not take."""


def find_optimizer(config: Config) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Return the optimizer's class and its arguments, checked on a CPU."""
    node = config.optimizer
    weight_decay = config.regularization.weight_decay
    cls = find_class("optimizer._target_", node._target_, torch.optim.Optimizer)
    parameters = inspect.signature(cls).parameters
    arguments: dict[str, Any] = {"lr": node.lr, **node.arguments}
    # The class is checked before its arguments: nobody should mend the arguments of an optimizer
    # that cannot be used at all.
    valid_arguments = {name: arguments[name] for name in arguments if name in parameters}
    _check_step(config, cls, valid_arguments)
    if node.momentum is not None:
        check_arguments("optimizer", cls, ["momentum"], fix="set optimizer.momentum=null")
        arguments["momentum"] = node.momentum
    if "weight_decay" in parameters or _hands_on_weight_decay(cls, arguments):
        # Passed even when it is 0, because AdamW's own default is 0.01.
        arguments["weight_decay"] = weight_decay
    elif weight_decay:
        raise ConfigError(
            f"regularization.weight_decay={weight_decay}: {cls.__qualname__} takes no weight_decay"
        )
    check_arguments("optimizer", cls, ["lr"], fix="the schedule sets it, so choose another class")
    check_arguments("optimizer.arguments", cls, node.arguments)
    return cls, arguments


def _hands_on_weight_decay(cls: type[torch.optim.Optimizer], arguments: Mapping[str, Any]) -> bool:
    """Return whether a class takes weight decay by `**kwargs`, for its parent."""
    arguments = {**_without_device_arguments(arguments), "weight_decay": 0.5}
    # `fork_rng`: see `_step_problem`.
    with torch.random.fork_rng(devices=[]):
        optimizer = _try_to_make(cls, [nn.Parameter(torch.ones(2, 2))], arguments)
    return optimizer is not None and "weight_decay" in optimizer.param_groups[0]


def build_optimizer(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer of all parameters that are not frozen.

    `regularization.weight_decay` applies to each of them.

    Args:
        network: on the device where it is trained, which decides the optimizer's implementation.
    """
    cls, arguments = find_optimizer(config)
    device = next(network.parameters()).device
    # A user's own choice of the form counts more than the fastest one.
    if device.type == "cuda" and not arguments.keys() & DEVICE_ARGUMENTS:
        arguments |= ON_CUDA.get(cls, {})
    if device.type == "meta":
        # Nothing trains on this device, and torch refuses there what the true one takes.
        arguments = _without_device_arguments(arguments)
    else:
        _check_step(config, cls, arguments, device)
    node = config.optimizer
    make: Any = cls  # each class has a signature of its own
    try:
        parameters = _parameters_to_train(network, node.lr, node.head_lr_factor)
        optimizer: torch.optim.Optimizer = make(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer: {error}") from error
    return optimizer


def _parameters_to_train(network: nn.Module, lr: float, head_lr_factor: float) -> list[Any]:
    """Return the parameters to train, or groups of them where the head has a rate of its own."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if head_lr_factor == 1:
        return trained
    # The schedule sets the rate anew at each step, and `augean.training.step` multiplies it by the
    # group's `lr_factor`.
    head = list(network.get_submodule(find_head(network)).parameters())
    in_head = {id(parameter) for parameter in head}
    others = [parameter for parameter in trained if id(parameter) not in in_head]
    groups: list[dict[str, Any]] = [
        {"params": head, "lr": lr * head_lr_factor, "lr_factor": head_lr_factor}
    ]
    if others:
        groups.insert(0, {"params": others})
    return groups


def _without_device_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in DEVICE_ARGUMENTS}


def _check_step(
    config: Config,
    cls: type[torch.optim.Optimizer],
    arguments: Mapping[str, Any],
    device: torch.device | None = None,
) -> None:
    """Make a step with one small weight, as training makes it, and refuse an optimizer that cannot.

    Args:
        device: where the network is trained; None where that is not known yet.

    Raises:
        ConfigError: for instance for an optimizer that needs a closure or sparse gradients.
    """
    if device is None:
        arguments = _without_device_arguments(arguments)
    place = device or torch.device("cpu")
    problem = _step_problem(cls, arguments, place, closure=False)
    if problem is None:
        return
    # A step that works with a closure only, as that of LBFGS, gets a message of its own.
    target = f"optimizer._target_={config.optimizer._target_}"
    if _step_problem(cls, arguments, place, closure=True) is None:
        raise ConfigError(
            f"{target}: its step needs a closure, as it computes the loss several times a step;"
            " training computes it once. Choose another class, such as torch.optim.Adam"
        )
    # A class from elsewhere may need the device of the training.
    if device is not None or cls.__module__.startswith("torch."):
        raise ConfigError(
            f"{target}: cannot make a step of the training ({problem}); change its arguments or"
            " choose another class, such as torch.optim.Adam"
        )


def _step_problem(
    cls: type[torch.optim.Optimizer],
    arguments: Mapping[str, Any],
    device: torch.device,
    *,
    closure: bool,
) -> str | None:
    """Return why a new optimizer cannot make a step with one weight; None where it can.

    Args:
        closure: whether the step is given a function that computes the loss.
    """
    # `fork_rng`: an optimizer that draws random numbers must not change those of the run.
    # `torch.device`: its tensors must be real even where the caller builds on the meta device.
    # `catch_warnings`: the run's own optimizer warns where there is something to warn of.
    with torch.random.fork_rng(devices=[]), torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = nn.Parameter(torch.ones(2, 2))
        weight.grad = torch.ones(2, 2)
        optimizer = _try_to_make(cls, [weight], arguments)
        if optimizer is None:
            return None  # the run's own optimizer will say what is wrong with the arguments
        try:
            if closure:
                optimizer.step(lambda: weight.sum().item())
            else:
                optimizer.step()
        except Exception as error:  # a user's own class may raise anything
            return " ".join(str(error).split()) or type(error).__name__
    return None


def _try_to_make(
    cls: type[torch.optim.Optimizer], parameters: list[nn.Parameter], arguments: Mapping[str, Any]
) -> torch.optim.Optimizer | None:
    make: Any = cls  # each class has a signature of its own
    try:
        optimizer: torch.optim.Optimizer = make(parameters, **arguments)
    except Exception:  # a user's own class may raise anything
        return None
    return optimizer


def takes_matrices(cls: type[torch.optim.Optimizer], arguments: Mapping[str, Any]) -> bool:
    """Return whether a class takes one small matrix with these arguments."""
    matrix = nn.Parameter(torch.ones(2, 2))
    return _try_to_make(cls, [matrix], _without_device_arguments(arguments)) is not None
