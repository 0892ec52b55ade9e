"""Channels that are zero on every image."""

import pytest
import torch
from torch import Tensor, nn

from augean.models.dead_units import DeadUnits, can_be_zero, count_dead_units


def make_network(activation: type[nn.Module]) -> nn.Sequential:
    """Return a network of one hidden layer of four channels, two of them always negative."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), activation(), nn.Flatten(), nn.Linear(16, 2))
    convolution = network[0]
    assert isinstance(convolution, nn.Conv2d)
    with torch.no_grad():
        convolution.weight.fill_(0.1)
        convolution.bias.copy_(torch.tensor([0.0, -1e3, 0.5, -1e3]))
    return network.eval()


def test_channels_that_are_never_above_zero_count_as_dead() -> None:
    network = make_network(nn.ReLU)
    images = torch.rand(6, 3, 2, 2)
    with count_dead_units(network, nn.ReLU) as dead_units:
        network(images[:3])
        network(images[3:])
    assert dead_units.shares() == {"1": 0.5}


def test_a_channel_that_is_alive_on_one_image_is_not_dead() -> None:
    network = make_network(nn.ReLU)
    images = torch.rand(6, 3, 2, 2)
    images[5] = 1e5
    with count_dead_units(network, nn.ReLU) as dead_units:
        network(images[:3])
        network(images[3:])
    assert dead_units.shares() == {"1": 0.0}


def test_nothing_is_watched_afterwards_and_outputs_are_the_same() -> None:
    network = make_network(nn.ReLU)
    images = torch.rand(6, 3, 2, 2)
    expected = network(images)
    with count_dead_units(network, nn.ReLU) as dead_units:
        assert torch.equal(network(images), expected)
    shares = dead_units.shares()
    network(images + 1e5)
    assert dead_units.shares() == shares


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU(), True),
        (nn.ReLU6(), True),
        (nn.Hardswish(), True),
        (nn.LeakyReLU(0.01), False),
        (nn.ELU(), False),
        (nn.GELU(), False),
        (nn.SiLU(), False),
        (nn.PReLU(4), False),
        (nn.Softmax2d(), False),  # takes only images
    ],
)
def test_only_activations_with_zeros_can_die(activation: nn.Module, expected: bool) -> None:
    assert can_be_zero(activation) is expected


class WithoutFloat64(Tensor):
    """Stands for a tensor on Apple's device."""

    def double(self) -> Tensor:  # type: ignore[override]
        """Refuse, as that device does."""
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> Tensor:  # type: ignore[override]
        """Return a tensor on the CPU."""
        return self.as_subclass(Tensor)


def test_shares_are_counted_on_a_device_without_float64() -> None:
    dead_units = DeadUnits()
    dead_units.alive["1"] = torch.tensor([True, False]).as_subclass(WithoutFloat64)
    assert dead_units.shares() == {"1": 0.5}


class OneActivation(nn.Module):
    """A network that calls one activation after each of its two layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, channels)
        self.act = nn.ReLU()
        with torch.no_grad():
            self.first.bias.fill_(10)
            self.second.weight.zero_()
            self.second.bias.fill_(-1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.act(self.first(inputs))
        outputs: Tensor = self.act(self.second(hidden))
        return outputs


@pytest.mark.parametrize("channels", [4, 6])
def test_each_use_of_a_shared_activation_is_counted_by_itself(channels: int) -> None:
    network = OneActivation(channels).eval()
    with count_dead_units(network, nn.ReLU) as dead_units:
        network(torch.rand(6, 3))
        network(torch.rand(6, 3))
    assert dead_units.shares() == {"act": 0.0, "act#2": 1.0}
