"""Build what a config names: activation, network, optimizer, and all that the training loop needs.

Every mistake is refused with its key.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
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
from augean.models.pretrained import check_head, load_pretrained, parameters_to_train, read_state
from augean.store.weights_file import WeightsFile, check_content
from augean.training.augmentation import check_mixup
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
DEVICE_ARGUMENTS = {"foreach", "fused", "capturable"}
"""Arguments of torch's optimizers that some devices do not take."""
NUM_CLASSES = 10
"""Number of classes with which a network is checked before the data set has been read. The true
number, which may need a download, changes only the last layer."""
_checked: set[str] = set()
"""Networks, with their optimizers, that `check_classes` has accepted in this process."""


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
    """How pretrained weights were used; empty without such."""

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
        _construct("trainer.freeze", check_head, network=network, classes=data.classes)
    if config.optimizer.head_lr_factor != 1:
        _construct("optimizer.head_lr_factor", check_head, network=network, classes=data.classes)
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
    """Load the weights that a run begins from; return a remark on it for train.log."""
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
    """Return a function that makes a new activation module at each call."""
    node = config.activation
    cls = find_class("activation._target_", node._target_, nn.Module)
    check_arguments("activation.arguments", cls, node.arguments)
    factory = partial(_construct, "activation", cls, **node.arguments)
    factory()  # refuses values that the class does not take, here and not inside the network
    return factory


def _model(config: Config) -> tuple[type[nn.Module], dict[str, Any]]:
    """Return the network's class and the arguments that only some classes take."""
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
        _construct("model.arguments", check, **arguments)
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
    cls, arguments = _model(config)
    # These four arguments every network takes; the rest are those of its class.
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
    cls, arguments = _optimizer(config)
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
    parameters = parameters_to_train(network, node.lr, node.head_lr_factor)
    return _construct("optimizer", partial(cls, parameters), **arguments)


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


def check_classes(config: Config) -> None:
    """Refuse missing classes, unknown arguments and an optimizer that cannot train the network.

    This needs no data, so it comes before any download or training. Values of arguments are left to
    the run, and so is a network that can only be built with the data set's own number of classes.

    Raises:
        ConfigError: as the run itself would.
    """
    parts = (
        config.model,
        config.activation,
        config.optimizer,
        config.regularization,
        config.width,
        config.trainer.freeze,  # decides which weights the optimizer gets
    )
    # The runs of a sweep share few networks, so each is checked once in a process.
    key = repr(parts)
    if key in _checked:
        return
    check_mixup(config.regularization.mixup)
    build_activation(config)
    _model(config)
    _check_fit(config)
    _checked.add(key)


def _check_fit(config: Config) -> None:
    """Refuse an optimizer that takes its arguments but not the parameters of the network."""
    cls, arguments = _optimizer(config)
    try:
        with torch.device("meta"):
            network = build_model(config, NUM_CLASSES)
    except Exception:
        return  # the run will say what is wrong, with the true number of classes
    # If it takes not even a matrix, its arguments are wrong, which the run itself says better.
    # Muon, for one, takes matrices but refuses the other shapes that a network has.
    matrix = nn.Parameter(torch.ones(2, 2))
    if _try_to_make(cls, [matrix], _without_device_arguments(arguments)) is not None:
        build_optimizer(config, network)
