"""Build what a config names: activation, network, optimizer, and all that the training loop needs.

Every mistake is refused with its key.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from augean.config.instantiate import check_arguments, find_class
from augean.config.schema import Config
from augean.errors import ConfigError
from augean.models.freezing import freeze_part, frozen_norms
from augean.models.native import Native
from augean.models.pretrained import check_head, load_pretrained, read_state
from augean.store.weights_file import WeightsFile, check_content
from augean.training.augmentation import check_mixup
from augean.training.data import AnySplit, Data
from augean.training.device import choose_layout, seed_all
from augean.training.lr_schedule import LRSchedule
from augean.training.optimizer import build_optimizer, find_optimizer, takes_matrices

T = TypeVar("T")
NUM_CLASSES = 10
"""Number of classes with which a network is checked before the data set has been read. The true
number, which may need a download, changes only the last layer."""
_checked: set[str] = set()
"""Keys of networks, see `network_key`, that `check_classes` has accepted in this process."""


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
    """With which weights the network begins, where that is worth a line; else empty."""

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
    # Layers draw their weights in a fixed order on the CPU, so that every device begins alike.
    seed_all(config.seed, 0)
    network = build_model(config, len(data.classes))
    # Each of these keys does something else with the head than with all other layers.
    if config.trainer.freeze != "none":
        _call_for_key("trainer.freeze", check_head, network=network, classes=data.classes)
    if config.optimizer.head_lr_factor != 1:
        _call_for_key("optimizer.head_lr_factor", check_head, network=network, classes=data.classes)
    remark = ""
    if weights is not None:
        remark = _load_pretrained(network, weights, data.classes)
    elif config.trainer.freeze != "none":
        # Not refused: how far random features go is a fair question, and finished runs ask it.
        remark = (
            f"trainer.freeze={config.trainer.freeze} keeps random weights as they are, for"
            " model.weights is null; give model.weights, or set trainer.freeze=none"
        )
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
    """Load the weights that a run begins from; return a remark on it for train.log."""
    check_content(weights)
    key = f"model.weights={weights.name}"
    # Whether names of classes count is a part of the address, so that one address is one start.
    other_classes = weights.classes if weights.has_new_head else ()
    try:
        new_head = load_pretrained(network, read_state(weights.path), classes, other_classes)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    remark = f"begins from {key}"
    if new_head is not None:
        remark += f", with the last layer {new_head} made anew for {len(classes)} classes"
    elif not weights.classes:
        remark += (
            ", its last layer too: the names of its classes are not known, and must be the same"
            f" {len(classes)}, in the same order"
        )
    return f"{remark}; {weights.remark}" if weights.remark else remark


def _call_for_key(key: str, function: Callable[..., T], **arguments: Any) -> T:
    """Call a function or a class, and name its error with the key of the config it is for."""
    try:
        return function(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def build_activation(config: Config) -> Callable[[], nn.Module]:
    """Return a function that makes a new activation module at each call."""
    node = config.activation
    cls = find_class("activation._target_", node._target_, nn.Module)
    check_arguments("activation.arguments", cls, node.arguments)
    factory = partial(_call_for_key, "activation", cls, **node.arguments)
    factory()  # refuses values that the class does not take, here and not inside the network
    return factory


def model_class(config: Config) -> tuple[type[nn.Module], dict[str, Any]]:
    """Return the network's class and the arguments that only some classes take.

    Raises:
        ConfigError: when there is no such class, or it does not take the config's arguments,
            activation or width.
    """
    node = config.model
    cls = find_class("model._target_", node._target_, nn.Module)
    arguments = dict(node.arguments)
    if node.stem is not None:
        check_arguments("model", cls, ["stem"], fix="set model.stem=null")
        arguments["stem"] = node.stem
    check_arguments("model.arguments", cls, arguments)
    _check_native_groups(config, cls)
    # A class may have a check of its own, for what can be known before it is built.
    check = getattr(cls, "check", None)
    if check is not None:
        _call_for_key("model.arguments", check, **arguments)
    return cls, arguments


def _check_native_groups(config: Config, cls: type[nn.Module]) -> None:
    """Refuse an activation or a width that the network does not take, and `native` elsewhere."""
    # A network with an activation or a width of its own names these groups in `native_groups`.
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
    network = _build_unfrozen(config, num_classes)
    _freeze(network, config)
    return network


def _build_unfrozen(config: Config, num_classes: int) -> nn.Module:
    cls, arguments = model_class(config)
    # These four arguments every network takes; the rest are those of its class.
    network = _call_for_key(
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
    return network


def _freeze(network: nn.Module, config: Config) -> None:
    freeze = config.trainer.freeze
    _call_for_key(f"trainer.freeze={freeze}", freeze_part, network=network, freeze=freeze)


def network_key(config: Config) -> str:
    """Return a text that is equal for networks that a check before training need not tell apart."""
    parts = (
        config.model,
        config.activation,
        config.optimizer,
        config.regularization,
        config.width,
        config.dataset.image_size,
        config.trainer.freeze,  # decides which weights the optimizer gets
    )
    return repr(parts)


def check_classes(config: Config) -> None:
    """Refuse missing classes, unknown arguments, a part to freeze that the network does not have,
    and an optimizer that cannot train it.

    This needs no data, so it comes before any download or training. Values of arguments are left to
    the run, and so is a network that can only be built with the data set's own number of classes.

    Raises:
        ConfigError: as the run itself would.
    """
    # The runs of a sweep share few networks, so each is checked once in a process.
    key = network_key(config)
    if key in _checked:
        return
    check_mixup(config.regularization.mixup)
    build_activation(config)
    model_class(config)
    _check_fit(config)
    _checked.add(key)


def _check_fit(config: Config) -> None:
    """Refuse a part to freeze that the network does not have, and an optimizer that takes its
    arguments but not the parameters of the network.
    """
    cls, arguments = find_optimizer(config)
    try:
        with torch.device("meta"):
            network = _build_unfrozen(config, NUM_CLASSES)
    except Exception:
        return  # the run will say what is wrong, with the true number of classes
    _freeze(network, config)
    # If it takes not even a matrix, its arguments are wrong, which the run itself says better.
    # Muon, for one, takes matrices but refuses the other shapes that a network has.
    if takes_matrices(cls, arguments):
        build_optimizer(config, network)
