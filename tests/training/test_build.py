"""Own classes in a run: an optimizer's weight decay, and a network whose head is not its last
layer.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augean.config.schema import Config
from augean.errors import ConfigError
from augean.models.pretrained import load_pretrained
from augean.runs.execute import execute
from augean.training.build import check_classes
from augean.training.model_summary import describe_model
from augean.training.optimizer import build_optimizer
from conftest import composed


class HandsOn(torch.optim.AdamW):
    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)


class Swallows(torch.optim.Rprop):
    def __init__(self, params: Any, lr: float = 0.1, **_: Any) -> None:
        super().__init__(params, lr)


class HeadFirst(nn.Module):
    def __init__(
        self, num_classes: int, activation: Callable[[], nn.Module], channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.head = nn.Linear(channels, num_classes)
        self.body = nn.Sequential(nn.Conv2d(3, channels, 3), activation(), nn.Dropout(dropout))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


class Parts(nn.Module):
    """Returns a tensor among other things, in the form of `kind`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: Tensor) -> Any:
        forms: dict[str, Any] = {
            "tuple": (images, None),
            "list": [{"size": 3}, [images]],
            "mapping": OrderedDict(size=3, images=images),
            "number": 3,
        }
        return forms[self.kind]


class Shared(nn.Module):
    """Calls one activation on two shapes, and a module that returns no tensor."""

    def __init__(
        self,
        num_classes: int,
        activation: Callable[[], nn.Module],
        channels: int,
        dropout: float,
        *,
        kind: str,
        gives: str = "logits",
    ) -> None:
        super().__init__()
        self.gives = gives
        self.parts = Parts(kind)
        self.body = nn.Conv2d(3, channels, 3)
        self.act = activation()
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Any:
        self.parts(images)
        features = self.act(self.body(images)).mean((2, 3))
        logits = self.head(self.act(features))
        return logits if self.gives == "logits" else {"logits": logits}


class HeadOfOneMatrix(nn.Module):
    """A head that is one matrix, behind a convolution."""

    def __init__(
        self, num_classes: int, activation: Callable[[], nn.Module], channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, channels, 3), activation(), nn.Dropout(dropout))
        self.head = nn.Linear(channels, num_classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


def with_parts(kind: str, *overrides: str) -> Config:
    return composed(
        "model._target_=test_build.Shared", "model.stem=null", "~model.arguments.blocks",
        "runtime.allowed_packages=[test_build]", "width.channels=8", "dataset.image_size=16",
        f"+model.arguments.kind={kind}", *overrides,
    )  # fmt: skip


def with_optimizer(name: str, weight_decay: float) -> Config:
    return composed(
        "optimizer=adam", f"optimizer._target_=test_build.{name}",
        "runtime.allowed_packages=[test_build]", f"regularization.weight_decay={weight_decay}",
    )  # fmt: skip


@pytest.mark.parametrize("weight_decay", [0.0, 0.001])
def test_weight_decay_reaches_the_parent_of_a_class_with_kwargs(weight_decay: float) -> None:
    optimizer = build_optimizer(with_optimizer("HandsOn", weight_decay), nn.Linear(2, 2))
    assert optimizer.param_groups[0]["weight_decay"] == weight_decay


def test_weight_decay_that_a_class_with_kwargs_loses_is_refused() -> None:
    build_optimizer(with_optimizer("Swallows", 0.0), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="Swallows takes no weight_decay"):
        build_optimizer(with_optimizer("Swallows", 0.001), nn.Linear(2, 2))


def test_an_optimizer_that_fits_the_head_alone_is_refused_for_the_whole_network() -> None:
    overrides = [
        "model._target_=test_build.HeadOfOneMatrix", "model.stem=null", "~model.arguments.blocks",
        "runtime.allowed_packages=[test_build]", "width.channels=8",
        "optimizer._target_=torch.optim.Muon",
    ]  # fmt: skip
    check_classes(composed(*overrides, "trainer.freeze=backbone"))
    with pytest.raises(ConfigError, match="optimizer: Muon only supports 2D parameters"):
        check_classes(composed(*overrides, "trainer.freeze=none"))


@pytest.mark.parametrize("override", ["trainer.freeze=backbone", "optimizer.head_lr_factor=4"])
def test_a_head_that_is_not_the_last_layer_is_refused(
    override: str, tiny: Callable[..., Config]
) -> None:
    config = tiny(
        "model._target_=test_build.HeadFirst", "model.stem=null", "~model.arguments.blocks",
        "runtime.allowed_packages=[test_build]", "width.channels=8", override,
    )  # fmt: skip
    key = override.split("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: body\.0, the last .* 8 outputs for 4 classes"):
        execute(config)


def test_weights_of_other_classes_need_a_head_that_is_the_last_layer() -> None:
    network = HeadFirst(4, nn.ReLU, 8, 0.0)
    weights = network.state_dict()
    assert load_pretrained(network, weights, tuple("abcd"), tuple("abcd")) is None
    with pytest.raises(ValueError, match=r"body\.0, the last layer"):
        load_pretrained(network, weights, tuple("abcd"), tuple("wxyz"))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("tuple", [3, 16, 16]), ("list", [3, 16, 16]), ("mapping", [3, 16, 16]), ("number", [])],
)
def test_a_module_may_return_anything_and_be_used_twice(kind: str, shape: list[int]) -> None:
    modules = describe_model(with_parts(kind), 4)["modules"]
    assert [(module["name"], module["output"]) for module in modules] == [
        ("parts", shape),
        ("body", [8, 14, 14]),
        ("act", [8, 14, 14]),
        ("act", [8]),
        ("head", [4]),
    ]


def test_a_network_that_does_not_return_a_tensor_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model=resnet18: returns a dict, not a tensor \[N, 4\]"):
        describe_model(with_parts("tuple", "+model.arguments.gives=dict"), 4)
