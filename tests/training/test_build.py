"""Own classes in a run: an optimizer's weight decay, and a network whose head is not its last
layer.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augean.config.schema import Config
from augean.errors import ConfigError
from augean.models.pretrained import load_pretrained
from augean.runs.execute import execute
from augean.training.build import build_optimizer
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
