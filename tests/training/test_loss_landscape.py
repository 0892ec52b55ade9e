"""The probe: it measures what the paper defines, exactly, and leaves no trace in the training."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import ConfigError
from augean.runs.execute import execute
from augean.training.loss_landscape import probe

Make = Callable[..., Config]
CPU = torch.device("cpu")


class Bowl(nn.Module):
    """w -> 1/2 w H w with a known Hessian H, in float64."""

    def __init__(self, hessian: Tensor) -> None:
        super().__init__()
        self.hessian = hessian
        self.first = nn.Parameter(torch.randn(3, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(len(hessian) - 3, dtype=torch.float64))

    def weights(self) -> Tensor:
        return torch.cat([self.first, self.second])

    def loss(self) -> Tensor:
        weights = self.weights()
        return 0.5 * weights @ self.hessian @ weights


def test_on_a_quadratic_the_smoothness_is_the_curvature_along_the_gradient() -> None:
    torch.manual_seed(0)
    root = torch.randn(8, 8, dtype=torch.float64)
    bowl = Bowl(root @ root.T)
    weights = bowl.weights().detach()
    gradient = bowl.hessian @ weights
    curvature = ((bowl.hessian @ gradient).norm() / gradient.norm()).item()
    rows = probe(bowl, bowl.loss, [0.01, 0.1, 1.0], CPU)
    assert math.isnan(rows[0]["smoothness"])
    for row in rows[1:]:
        moved = weights - row["step_size"] * gradient
        assert row["smoothness"] == pytest.approx(curvature, rel=1e-12)
        assert row["loss"] == pytest.approx((0.5 * moved @ bowl.hessian @ moved).item(), rel=1e-12)
        assert row["gradient_distance"] == pytest.approx(
            row["step_size"] * (bowl.hessian @ gradient).norm().item(), rel=1e-12
        )
    assert torch.equal(bowl.weights(), weights)


def test_a_parameter_that_the_loss_does_not_use_has_a_gradient_of_zero() -> None:
    bowl = Bowl(torch.eye(8, dtype=torch.float64))
    bowl.register_parameter("spare", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    rows = probe(bowl, bowl.loss, [0.1], CPU)
    assert rows[1]["smoothness"] == pytest.approx(1)


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 5),
    ).double()


def slow_measures(
    network: nn.Module, images: Tensor, labels: Tensor, step_size: float, seed: int
) -> dict[str, float]:
    """The definitions, one number at a time: a copied network, flat vectors, Python sums."""
    import copy

    def gradient_at(moved: nn.Module) -> tuple[float, list[float]]:
        torch.manual_seed(seed)
        loss = functional.cross_entropy(moved(images), labels)
        moved.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        flat = [
            value for parameter in moved.parameters() for value in parameter.grad.flatten().tolist()
        ]  # type: ignore[union-attr]
        return loss.item(), flat

    _, origin = gradient_at(copy.deepcopy(network))
    moved = copy.deepcopy(network)
    position = 0
    with torch.no_grad():
        for parameter in moved.parameters():
            for index in range(parameter.numel()):
                parameter.view(-1)[index] -= step_size * origin[position]
                position += 1
    loss, new = gradient_at(moved)
    distance = math.sqrt(sum((a - b) ** 2 for a, b in zip(new, origin, strict=True)))
    norm, new_norm = (math.sqrt(sum(a * a for a in vector)) for vector in (origin, new))
    return {
        "loss": loss,
        "gradient_distance": distance,
        "gradient_cosine": sum(a * b for a, b in zip(new, origin, strict=True)) / (norm * new_norm),
        "smoothness": distance / (step_size * norm),
    }


def test_the_measures_agree_with_a_plain_slow_implementation() -> None:
    torch.manual_seed(1)
    network = small_network()
    images, labels = torch.randn(6, 3, 4, 4, dtype=torch.float64), torch.randint(5, (6,))
    torch.manual_seed(7)
    rows = probe(
        network, lambda: functional.cross_entropy(network(images), labels), [0.05, 0.5, 2.0], CPU
    )
    for row in rows[1:]:
        for name, value in slow_measures(network, images, labels, row["step_size"], seed=7).items():
            assert row[name] == pytest.approx(value, rel=1e-6), name


def state(network: nn.Module) -> list[Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def test_probing_leaves_weights_buffers_gradients_and_random_streams_bit_equal() -> None:
    torch.manual_seed(2)
    network = small_network()
    images, labels = torch.randn(6, 3, 4, 4, dtype=torch.float64), torch.randint(5, (6,))
    functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    gradients = [
        parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None
    ]
    before, stream = state(network), torch.get_rng_state()
    probe(network, lambda: functional.cross_entropy(network(images), labels), [0.1, 1.0], CPU)
    assert all(torch.equal(one, other) for one, other in zip(before, state(network), strict=True))
    assert torch.equal(stream, torch.get_rng_state())
    after = [parameter.grad for parameter in network.parameters()]
    assert all(
        torch.equal(one, other)
        for one, other in zip(gradients, after, strict=True)
        if other is not None
    )


def rows_of(path: Path, name: str) -> list[dict[str, Any]]:
    return list(csv.DictReader((path / name).read_text().splitlines()))


@pytest.mark.parametrize(
    "overrides",
    [
        "model=vgg_a_bn",
        "model=vgg_a regularization=dropout",
        "regularization=mixup regularization.cutout=4 optimizer=adam",
        "trainer.precision=bf16 optimizer=rmsprop",
    ],
)
def test_a_probed_training_is_bit_equal_to_one_that_is_not(tiny: Make, overrides: str) -> None:
    lines = overrides.split()
    plain = execute(tiny(*lines))
    probed = execute(tiny(*lines, "record.probe_every=2"))
    assert plain.address.id != probed.address.id
    first, second = (
        torch.load(run.address.path / "best.pt", weights_only=True) for run in (plain, probed)
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    for one, other in zip(
        rows_of(plain.address.path, "metrics.csv"),
        rows_of(probed.address.path, "metrics.csv"),
        strict=True,
    ):
        assert one["train_loss"] == other["train_loss"]
        assert one["val_loss"] == other["val_loss"]


def test_the_probes_file_has_every_point_of_every_probed_step(tiny: Make) -> None:
    outcome = execute(
        tiny("record.probe_every=4", "record.probe_points=3", "record.probe_range=[0.5,2]")
    )
    rows = rows_of(outcome.address.path, "probe.csv")
    assert [int(row["step"]) for row in rows] == [step for step in (0, 4, 8, 12) for _ in range(4)]
    first = [float(row["step_size"]) for row in rows[:4]]
    assert first == pytest.approx([0.0, 0.025, 0.05, 0.1])
    assert float(rows[0]["gradient_distance"]) == 0.0
    assert float(rows[0]["gradient_cosine"]) == pytest.approx(1.0)


def test_a_resumed_run_keeps_its_earlier_probes(
    tiny: Make, tmp_path: Path, train_until: Callable[[Config, int], None]
) -> None:
    whole = execute(tiny("record.probe_every=4", f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny("record.probe_every=4"), 2)
    resumed = execute(tiny("record.probe_every=4"))
    assert resumed.summary.num_resumes == 1
    assert (resumed.address.path / "probe.csv").read_text() == (
        whole.address.path / "probe.csv"
    ).read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("record.probe_every=-1", "record.probe_every=-1: must be at least 0"),
        ("record.probe_range=[4,0.5]", "record.probe_range=[4.0, 0.5]: must be two numbers"),
        ("record.probe_range=[0,1]", "0 < smallest < largest"),
        ("record.probe_points=1", "record.probe_points=1: must be at least 2"),
    ],
)
def test_a_wrong_probe_setting_is_refused_with_its_reason(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(overrides.split())
    assert message in str(caught.value)


def test_probing_less_often_than_once_a_run_is_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match="the run has only 15 steps"):
        execute(tiny("record.probe_every=16"))
