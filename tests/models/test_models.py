"""The networks equal torchvision's where they should, and follow the config elsewhere."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import vgg as torchvision_vgg

from augean.models import VGG, ResNet

RESNET34 = (3, 4, 6, 3)


def copy_weights(target: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights by their order, whatever their names."""
    names = list(target.state_dict())
    assert len(names) == len(weights)
    target.load_state_dict(dict(zip(names, weights.values(), strict=True)))


def torchvision_resnet(blocks: tuple[int, ...], stem: str) -> torchvision.models.ResNet:
    network = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.BasicBlock, list(blocks), num_classes=10
    )
    if stem == "cifar":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("blocks", [(2, 2, 2, 2), RESNET34])
def test_resnet_equals_torchvision(blocks: tuple[int, ...], stem: str, train: bool) -> None:
    torch.manual_seed(0)
    theirs = torchvision_resnet(blocks, stem).train(train)
    ours = ResNet(10, nn.ReLU, 64, 0.0, blocks=blocks, stem=stem).train(train)
    copy_weights(ours, theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
    for after, expected in zip(
        ours.state_dict().values(), theirs.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(
            after, expected, rtol=0, atol=0
        )  # batch-norm statistics moved alike


@pytest.mark.parametrize("batch_norm", [False, True])
def test_features_of_vgg_a_equal_torchvision(batch_norm: bool) -> None:
    torch.manual_seed(0)
    theirs = torchvision_vgg.make_layers(torchvision_vgg.cfgs["A"], batch_norm=batch_norm)
    ours = VGG(10, nn.ReLU, 64, 0.0, batch_norm=batch_norm)
    copy_weights(ours.features, theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = theirs(images)
        assert features.shape == (2, 512, 1, 1)
        torch.testing.assert_close(ours.features(images), features, rtol=0, atol=0)
        torch.testing.assert_close(ours.pool(features), features[:, :, 0, 0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "num_parameters"),
    [
        (ResNet(10, nn.ReLU, 64, 0.0), 11_173_962),
        (ResNet(10, nn.ReLU, 64, 0.0, blocks=RESNET34), 21_282_122),
        (VGG(10, nn.ReLU, 64, 0.0), 9_750_922),
        (
            VGG(10, nn.ReLU, 64, 0.0, batch_norm=True),
            9_750_922 + 2 * (64 + 128 + 2 * 256 + 4 * 512),
        ),
    ],
    ids=["resnet18", "resnet34", "vgg_a", "vgg_a_bn"],
)
def test_networks_have_the_published_number_of_parameters(
    network: nn.Module, num_parameters: int
) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResNet,
    "resnet_imagenet": lambda *arguments: ResNet(*arguments, stem="imagenet"),
    "vgg": VGG,
    "vgg_bn": lambda *arguments: VGG(*arguments, batch_norm=True),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [8, 16, 28, 32, 64])
def test_networks_take_any_image_size(name: str, size: int) -> None:
    network = NETWORKS[name](7, nn.ReLU, 4, 0.0).eval()
    assert network(torch.randn(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "count"), [("resnet", 1 + 8 * 2), ("vgg", 8 + 2), ("vgg_bn", 8 + 2)]
)
def test_activation_stands_wherever_a_relu_did_and_is_fresh_each_time(
    name: str, count: int
) -> None:
    network = NETWORKS[name](10, nn.PReLU, 4, 0.0)
    activations = [module for module in network.modules() if isinstance(module, nn.PReLU)]
    called: list[nn.Module] = []
    for module in activations:
        module.register_forward_hook(lambda module, *_: called.append(module))
    network(torch.randn(2, 3, 16, 16))
    assert len(activations) == len(called) == len(set(called)) == count
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = NETWORKS[name](10, nn.ELU, 4, 0.5)
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("name", "count"), [("resnet", 1), ("vgg", 3)])
def test_dropout_comes_right_before_linear_layers_and_only_when_asked_for(
    name: str, count: int
) -> None:
    leaves = [
        module
        for module in NETWORKS[name](10, nn.ReLU, 4, 0.3).modules()
        if not list(module.children())
    ]
    after = [second for first, second in pairwise(leaves) if isinstance(first, nn.Dropout)]
    assert [type(module) for module in after] == [nn.Linear] * count
    assert {module.p for module in leaves if isinstance(module, nn.Dropout)} == {0.3}
    assert not any(
        isinstance(module, nn.Dropout) for module in NETWORKS[name](10, nn.ReLU, 4, 0.0).modules()
    )


def test_resnet_doubles_its_channels_and_halves_its_maps_from_stage_to_stage() -> None:
    network = ResNet(10, nn.ReLU, 6, 0.0)
    x = network.stem(torch.randn(2, 3, 32, 32))
    shapes = [x.shape[1:]]
    for stage in network.stages:
        x = stage(x)
        shapes.append(x.shape[1:])
    assert shapes == [(6, 32, 32), (6, 32, 32), (12, 16, 16), (24, 8, 8), (48, 4, 4)]


def test_imagenet_stem_quarters_the_maps() -> None:
    network = ResNet(10, nn.ReLU, 6, 0.0, stem="imagenet")
    assert network.stem(torch.randn(2, 3, 64, 64)).shape == (2, 6, 16, 16)


def test_vgg_layout_gives_channels_in_multiples_of_c() -> None:
    network = VGG(10, nn.ReLU, 4, 0.0, layout=[1, "M", 3])
    assert network.features(torch.randn(2, 3, 9, 9)).shape == (2, 12, 5, 5)
    assert [layer.in_features for layer in network.classifier if isinstance(layer, nn.Linear)] == [
        12,
        12,
        12,
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_are_the_defaults_of_pytorch(name: str) -> None:
    for module in NETWORKS[name](10, nn.ReLU, 4, 0.0).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Uniform within 1/sqrt(fan-in), unlike torchvision's normal distribution.
            bound = module.weight[0].numel() ** -0.5
            assert 0.5 * bound < module.weight.abs().max() <= bound
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)


@pytest.mark.parametrize("blocks", [(), (2, 0), (2, 1.5)])
def test_bad_blocks_are_named(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"blocks=\[.*\]: must be whole numbers of at least 1"):
        ResNet(10, nn.ReLU, 4, 0.0, blocks=blocks)


def test_bad_stem_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match="stem=mnist: must be cifar or imagenet"):
        ResNet(10, nn.ReLU, 4, 0.0, stem="mnist")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ([1, "N"], "'N' must be M or a whole multiple"),
        ([1, 0], "0 must be M or"),
        (["M"], "at least one convolution"),
    ],
)
def test_bad_layout_is_named(layout: list[int | str], message: str) -> None:
    with pytest.raises(ValueError, match=rf"layout=\[.*\]: .*{message}"):
        VGG(10, nn.ReLU, 4, 0.0, layout=layout)
