"""Networks of torchvision are torchvision's own, and take the groups that they can take."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import ConfigError
from augean.models.from_torchvision import TorchvisionNetwork, network_names
from augean.runs.address import find_address
from augean.runs.execute import execute
from augean.training.build import build_model, check_classes
from augean.training.model_summary import describe_model
from conftest import composed

FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "resnet50": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "vgg11_bn": 32,
    "vit_b_16": 224,
}
"""A network of each kind, with an image size that it takes."""


def from_torchvision(name: str, *overrides: str) -> Config:
    return composed("model=torchvision", f"model.arguments.name={name}", *overrides)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_kind_of_network_gets_outputs_for_the_classes(name: str) -> None:
    config = from_torchvision(name, f"dataset.image_size={FAMILIES[name]}")
    description = describe_model(config, 7)
    assert description["name"] == config.model.name == name
    assert description["modules"][-1]["output"][0] == 7


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_the_outputs_are_those_of_torchvisions_own_network(name: str, train: bool) -> None:
    ours = build_model(from_torchvision(name), 5).train(train)
    theirs = torchvision.models.get_model(name, num_classes=5).train(train)
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # as regularization.dropout says
    images = torch.randn(4, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def test_all_of_torchvisions_classification_networks_have_a_name() -> None:
    names = network_names()
    assert set(FAMILIES) < set(names)
    assert not [name for name in names if "rcnn" in name or "quantized" in name]


def test_model_torchvision_brings_native_activation_and_width() -> None:
    config = compose(["model=torchvision", "model.arguments.name=resnet50"])
    assert (config.activation.name, config.width.channels) == ("native", None)
    assert "-resnet50-native-sgd-cnative-s0-" in find_address(config).path.name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=torchvision", "activation=relu"], "activation=relu: .* use activation=native"),
        (["model=torchvision", "width=w32"], "width=w32: .* use width=native"),
        (["activation=native"], "activation=native: only for networks with their own"),
        (["width=native"], "width=native: only for networks with their own"),
        (
            ["model=torchvision", "model.arguments.name=resnet5"],
            "name=resnet5: no classification network .* did you mean resnet50",
        ),
        (
            ["model=torchvision", "++model.arguments.pretrained=true"],
            "pretrained=True: weights are no argument .* set model.weights=DEFAULT",
        ),
    ],
)
def test_what_a_network_does_not_take_is_refused_early(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_classes(compose(overrides))


def test_an_unknown_argument_of_a_network_is_named() -> None:
    config = compose(["model=torchvision", "++model.arguments.blocks=3"])
    with pytest.raises(ConfigError, match="unexpected keyword argument 'blocks'"):
        build_model(config, 4)


def test_an_image_size_that_a_network_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="vit_b_16: cannot take images of shape"):
        describe_model(from_torchvision("vit_b_16"), 4)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_before_the_last_layers_is_that_of_the_config(dropout: float) -> None:
    network = TorchvisionNetwork(4, nn.ReLU, None, dropout, name="alexnet")
    layers = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert [layer.p for layer in layers] == [dropout, dropout]


def test_dropout_is_refused_where_a_network_has_no_place_for_it() -> None:
    config = from_torchvision("resnet18", "regularization.dropout=0.2")
    with pytest.raises(ConfigError, match=r"dropout=0.2: resnet18 has no dropout"):
        build_model(config, 4)


def test_a_network_of_torchvision_trains_as_a_run(tiny: Callable[..., Config]) -> None:
    network = ["model=torchvision", "model.arguments.name=squeezenet1_1", "width.channels=null"]
    config = tiny(*network, "dataset.image_size=32", "trainer.epochs=1", "optimizer.lr=1e-3")
    outcome = execute(config)
    weights = torch.load(outcome.address.path / "best.pt", weights_only=True)
    # Under torchvision's names.
    torchvision.models.squeezenet1_1(num_classes=4).load_state_dict(weights)
