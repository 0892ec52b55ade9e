"""What only a CUDA device can show: `make test-cuda`."""

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from augean.config import Config
from augean.execute import execute

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
Make = Callable[..., Config]


def steps(config: Config) -> "numpy.ndarray[tuple[int], numpy.dtype[numpy.float32]]":
    return numpy.load(execute(config).address.path / "steps.npy")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adagrad", "rmsprop"])
def test_training_on_the_gpu_learns_and_says_where_it_ran(tiny: Make, optimizer: str) -> None:
    outcome = execute(tiny(f"optimizer={optimizer}", "trainer.precision=bf16", "runtime.device=cuda"))
    assert outcome.summary["status"] == "finished"
    assert outcome.summary["device"] == torch.cuda.get_device_name()
    assert outcome.summary["peak_memory_mb"] > 0


def test_without_random_augmentation_the_gpu_starts_as_the_cpu_does(tiny: Make, tmp_path: Path) -> None:
    # The order of the images comes from the device's own generator, so one batch holds all of them.
    setting = ["augmentation=none", "trainer.batch_size=160", "trainer.epochs=5", "record.step_loss=true"]
    curves = [
        steps(tiny(*setting, f"runtime.device={device}", f"runtime.outputs={tmp_path}/{device}", "optimizer.lr=0.01"))
        for device in ("cpu", "cuda")
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_a_run_resumed_on_the_gpu_is_bit_equal(
    tiny: Make, tmp_path: Path, optimizer: str, train_until: Callable[[Config, int], None]
) -> None:
    setting = [f"optimizer={optimizer}", "trainer.deterministic=true", "runtime.device=cuda", "trainer.epochs=4"]
    whole = execute(tiny(*setting, f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny(*setting), 2)
    resumed = execute(tiny(*setting))
    one, other = (torch.load(run.address.path / "best.pt", weights_only=True) for run in (whole, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_probing_on_the_gpu_does_not_change_the_training(tiny: Make) -> None:
    setting = ["regularization=dropout", "model=vgg_a_bn", "trainer.deterministic=true", "runtime.device=cuda"]
    plain, probed = execute(tiny(*setting)), execute(tiny(*setting, "record.probe_every=2"))
    one, other = (torch.load(run.address.path / "best.pt", weights_only=True) for run in (plain, probed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
