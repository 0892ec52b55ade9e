"""Build what a config names: activation, network, optimizer, and all that the training loop needs.

Every mistake is refused with its key.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from augean.config.instantiate import check_arguments, find_class
from augean.config.schema import Config, OptimizerConfig
from augean.errors import ConfigError
from augean.models.freezing import freeze_part, frozen_norms
from augean.models.native import Native
from augean.models.pretrained import find_head, load_pretrained, read_state
from augean.store.weights_file import WeightsFile, check_content
from augean.training.data import AnySplit, Data
from augean.training.device import choose_layout, seed_all
from augean.training.lr_schedule import LRSchedule

T = TypeVar("T")
ON_CUDA: dict[type, dict[str, Any]] = {
    torch.optim.SGD: {"fused": True},
    torch.optim.Adam: {"fused": True, "capturable": True},
    torch.optim.AdamW: {"fused": True, "capturable": True},
    torch.optim.RMSprop: {"foreach": True, "capturable": True},
}
"""The fastest form of each optimizer whose step can be captured in a CUDA graph.

RMSprop has no fused form. Adagrad reads its step count on the host, so it cannot be captured.
"""


@dataclass(frozen=True)
class TrainingContext:
    """What a run trains with. Training changes network, optimizer, schedule and scaler in place."""

    config: Config
    network: nn.Module
    """On the device of the labels of `train`, like the optimizer's state."""
    optimizer: torch.optim.Optimizer
    schedule: LRSchedule
    scaler: torch.amp.GradScaler
    """Scales the loss in fp16; disabled in other precisions."""
    train: AnySplit
    val: AnySplit | None
    """None where nothing is held out."""
    frozen_norms: list[nn.Module] = field(default_factory=list)
    """Batch norms of a frozen part, see `train_mode`."""
    remark: str = ""
    """What became of pretrained weights; empty without such."""

    def train_mode(self) -> None:
        """Set the network to training mode, except the batch norms of a frozen part."""
        self.network.train()
        for norm in self.frozen_norms:
            norm.eval()

    @property
    def device(self) -> torch.device:
        return self.train.labels.device


def build_context(
    config: Config, data: Data, device: torch.device, weights: WeightsFile | None = None
) -> TrainingContext:
    """Build all that a run trains with, in its initial state, from `config.seed`.

    Args:
        device: that of the data.
        weights: that the network begins from; None for random ones.

    Raises:
        ConfigError: when the network or the optimizer cannot be built, or the weights do not fit.
    """
    seed_all(config.seed, 0)
    network = build_model(config, len(data.classes))
    remark = ""
    if weights is not None:
        remark = _load_pretrained(network, weights, data.classes)
    network = network.to(device)
    network = network.to(memory_format=choose_layout(network, device))
    num_steps = math.ceil(len(data.train) / config.trainer.batch_size) * config.trainer.epochs
    return TrainingContext(
        config=config,
        network=network,
        optimizer=build_optimizer(config, network),
        schedule=LRSchedule(config.schedule, config.optimizer.lr, num_steps),
        scaler=torch.amp.GradScaler(device.type, enabled=config.trainer.precision == "fp16"),
        train=data.train,
        val=data.val,
        frozen_norms=frozen_norms(network, config.trainer.freeze),
        remark=remark,
    )


def _load_pretrained(network: nn.Module, weights: WeightsFile, classes: tuple[str, ...]) -> str:
    """Load the weights that a run begins from; return what is to be said about it."""
    check_content(weights)
    key = f"model.weights={weights.name}"
    try:
        new_head = load_pretrained(network, read_state(weights.path), classes, weights.classes)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    if new_head is None:
        return f"begins from {key}"
    return f"begins from {key}, with the last layer {new_head} made anew for {len(classes)} classes"


def _construct(key: str, cls: Callable[..., T], **arguments: Any) -> T:
    """Call a class with arguments from the config, so that a wrong one is named with its key."""
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def build_activation(config: Config) -> Callable[[], nn.Module]:
    """Return a factory of which each call gives a fresh activation module."""
    node = config.activation
    cls = find_class("activation._target_", node._target_, nn.Module)
    check_arguments("activation.arguments", cls, node.arguments)
    factory = partial(_construct, "activation", cls, **node.arguments)
    factory()
    return factory


def _model(config: Config) -> tuple[type[nn.Module], dict[str, Any]]:
    node = config.model
    cls = find_class("model._target_", node._target_, nn.Module)
    arguments = dict(node.arguments)
    if node.stem is not None:
        check_arguments("model", cls, ["stem"])
        arguments["stem"] = node.stem
    check_arguments("model.arguments", cls, arguments)
    _check_native_groups(config, cls)
    # A class may have a check of its own, for what can be known before it is built.
    check = getattr(cls, "check", None)
    if check is not None:
        _construct("model.arguments", check, **arguments)
    return cls, arguments


def _check_native_groups(config: Config, cls: type[nn.Module]) -> None:
    """Refuse an activation or a width that the network does not take, and `native` elsewhere."""
    activation = find_class("activation._target_", config.activation._target_, nn.Module)
    width = config.width.channels
    values = {"activation": config.activation.name, "width": f"w{width}"}
    is_native = {"activation": issubclass(activation, Native), "width": width is None}
    native_groups = getattr(cls, "native_groups", ())
    for group, value in values.items():
        if group in native_groups and not is_native[group]:
            raise ConfigError(
                f"{group}={value}: {config.model.name} has its own {group}; use {group}=native"
            )
        if is_native[group] and group not in native_groups:
            raise ConfigError(
                f"{group}=native: only for networks with their own {group}, such as those of"
                f" model=torchvision; {config.model.name} needs another option"
            )


def build_model(config: Config, num_classes: int) -> nn.Module:
    """Build the network, initialised from torch's default generator.

    `model.init=xavier_normal` (Glorot and Bengio 2010) applies to the weights of all convolutions
    and linear layers.
    """
    cls, arguments = _model(config)
    network = _construct(
        "model",
        cls,
        num_classes=num_classes,
        activation=build_activation(config),
        channels=config.width.channels,
        dropout=config.regularization.dropout,
        **arguments,
    )
    if config.model.init == "xavier_normal":
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    freeze = config.trainer.freeze
    try:
        freeze_part(network, freeze)
    except ValueError as error:
        raise ConfigError(f"trainer.freeze={freeze}: {error}") from error
    return network


def _optimizer(config: Config) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    node, weight_decay = config.optimizer, config.regularization.weight_decay
    cls = find_class("optimizer._target_", node._target_, torch.optim.Optimizer)
    arguments: dict[str, Any] = {"lr": node.lr, **node.arguments}
    parameters = inspect.signature(cls).parameters
    if node.momentum is not None:
        check_arguments("optimizer", cls, ["momentum"])
        arguments["momentum"] = node.momentum
    if "weight_decay" in parameters:
        # Given even when it is 0: AdamW's own default is not.
        arguments["weight_decay"] = weight_decay
    elif weight_decay:
        raise ConfigError(
            f"regularization.weight_decay={weight_decay}: {cls.__qualname__} takes no weight_decay"
        )
    check_arguments("optimizer.arguments", cls, arguments)
    return cls, arguments


def build_optimizer(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer of all parameters that are not frozen.

    `regularization.weight_decay` applies to each of them.

    Args:
        network: on the device where it is trained, which decides the optimizer's implementation.
    """
    cls, arguments = _optimizer(config)
    on_cuda = next(network.parameters()).device.type == "cuda"
    if on_cuda and not arguments.keys() & {"foreach", "fused", "capturable"}:
        arguments |= ON_CUDA.get(cls, {})
    parameters = _parameters(network, config.optimizer)
    return _construct("optimizer", partial(cls, parameters), **arguments)


def _parameters(network: nn.Module, node: OptimizerConfig) -> list[Any]:
    """Return what the optimizer changes: parameters, or groups of them by learning rate.

    The key `lr_factor` of a group is for `augean.training.step`.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    factor = node.head_lr_factor
    if factor == 1:
        return trained
    head = list(network.get_submodule(find_head(network)).parameters())
    in_head = {id(parameter) for parameter in head}
    others = [parameter for parameter in trained if id(parameter) not in in_head]
    groups: list[dict[str, Any]] = [{"params": head, "lr": node.lr * factor, "lr_factor": factor}]
    if others:
        groups.insert(0, {"params": others})
    return groups


def check_names(config: Config) -> None:
    """Refuse classes that are not there and arguments that they do not take, before a network can
    be built.

    What depends on the network, which only the data set's number of classes completes, is left to
    the run.

    Raises:
        ConfigError: as the run itself would.
    """
    build_activation(config)
    _model(config)
    _optimizer(config)
