"""What only a CUDA device can show: `make test-cuda`."""

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from augean.config.schema import Config
from augean.datasets.base import ImageArray
from augean.errors import ConfigError
from augean.runs.address import build_source
from augean.runs.execute import execute
from augean.training.build import build_model
from augean.training.data import Batch, HostSplit, load_data
from augean.training.step import WARMUP_STEPS, Step
from contexts import make_context

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
Make = Callable[..., Config]


def steps(config: Config) -> "numpy.ndarray[tuple[int], numpy.dtype[numpy.float32]]":
    return numpy.load(execute(config).address.path / "steps.npy")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adagrad", "rmsprop"])
def test_training_on_the_gpu_learns_and_says_where_it_ran(tiny: Make, optimizer: str) -> None:
    outcome = execute(
        tiny(f"optimizer={optimizer}", "trainer.precision=bf16", "runtime.device=cuda")
    )
    assert outcome.summary.status == "finished"
    assert outcome.summary.device == torch.cuda.get_device_name()
    assert outcome.summary.peak_memory_mb > 0


def test_without_random_augmentation_the_gpu_starts_as_the_cpu_does(
    tiny: Make, tmp_path: Path
) -> None:
    # The order of the images comes from the device's own generator, so one batch holds all of them.
    setting = [
        "augmentation=none",
        "trainer.batch_size=160",
        "trainer.epochs=5",
        "record.step_loss=true",
    ]
    curves = [
        steps(
            tiny(
                *setting,
                f"runtime.device={device}",
                f"runtime.outputs={tmp_path}/{device}",
                "optimizer.lr=0.01",
            )
        )
        for device in ("cpu", "cuda")
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_a_run_resumed_on_the_gpu_is_bit_equal(
    tiny: Make, tmp_path: Path, optimizer: str, train_until: Callable[[Config, int], None]
) -> None:
    setting = [
        f"optimizer={optimizer}",
        "trainer.deterministic=true",
        "runtime.device=cuda",
        "trainer.epochs=4",
    ]
    whole = execute(tiny(*setting, f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny(*setting), 2)
    resumed = execute(tiny(*setting))
    one, other = (
        torch.load(run.address.path / "best.pt", weights_only=True) for run in (whole, resumed)
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_probing_on_the_gpu_does_not_change_the_training(tiny: Make) -> None:
    setting = [
        "regularization=dropout",
        "model=vgg_a_bn",
        "trainer.deterministic=true",
        "runtime.device=cuda",
    ]
    plain, probed = execute(tiny(*setting)), execute(tiny(*setting, "record.probe_every=2"))
    one, other = (
        torch.load(run.address.path / "best.pt", weights_only=True) for run in (plain, probed)
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    "overrides",
    [
        "optimizer=sgd",
        "optimizer=adam",
        "optimizer=adamw regularization.weight_decay=0.01",
        "optimizer=rmsprop",
        "optimizer=adagrad",
        "trainer.reset_optimizer=epoch",
        "regularization=mixup",
        "regularization=dropout model=vgg_a_bn",
        "regularization=cutout regularization.cutout=4 schedule=cosine",
        "trainer.precision=bf16",
        "trainer.precision=fp16",
    ],
)
def test_recorded_steps_equal_eager_ones(tiny: Make, tmp_path: Path, overrides: str) -> None:
    # 160 images: three full batches of 48 and a short one
    setting = ["trainer.batch_size=48", "trainer.epochs=6", "optimizer.lr=0.01"]
    setting += ["trainer.deterministic=true", "runtime.device=cuda", "record.step_loss=true"]
    setting += overrides.split()
    eager, recorded = (
        steps(tiny(*setting, f"runtime.cuda_graph={graph}", f"runtime.outputs={tmp_path}/{graph}"))
        for graph in (False, True)
    )
    assert recorded == pytest.approx(eager, rel=1e-4)


@pytest.mark.parametrize("model", ["model=resnet18", "model=vgg_a_bn"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
def test_fused_norms_give_the_modules_training(
    tiny: Make, tmp_path: Path, model: str, activation: str
) -> None:
    setting = [
        model,
        f"activation={activation}",
        "trainer.batch_size=48",
        "trainer.epochs=3",
        "trainer.precision=bf16",
        "optimizer.lr=0.001",
        "record.step_loss=true",
        "runtime.device=cuda",
    ]
    plain, fused, again = (
        steps(tiny(*setting, f"runtime.fused_norm={on}", f"runtime.outputs={tmp_path}/{name}"))
        for name, on in (("plain", False), ("fused", True), ("again", True))
    )
    assert fused == pytest.approx(plain, rel=2e-2)
    assert not numpy.array_equal(fused, plain), "the fused kernels did not run"
    # No atomic additions: only cuDNN's backward convolutions may differ from run to run.
    assert again == pytest.approx(fused, rel=1e-3)


@pytest.mark.parametrize("graph", [False, True])
def test_compiled_steps_equal_eager_ones(tiny: Make, tmp_path: Path, graph: bool) -> None:
    setting = [
        "trainer.batch_size=48",
        "trainer.epochs=3",
        "optimizer.lr=0.01",
        "record.step_loss=true",
    ]
    setting += ["runtime.device=cuda", f"runtime.cuda_graph={graph}"]
    eager, compiled = (
        steps(tiny(*setting, f"runtime.compile={on}", f"runtime.outputs={tmp_path}/{on}"))
        for on in (False, True)
    )
    assert compiled == pytest.approx(eager, rel=1e-2)


def test_no_step_waits_for_the_device(tiny: Make) -> None:
    config = tiny("runtime.device=cuda", "trainer.precision=bf16", "trainer.epochs=3")
    data = load_data(build_source(config), 40, None, 0, torch.device("cuda"))
    step = Step(
        make_context(config, data.train, network=build_model(config, len(data.classes)).cuda())
    )
    index = torch.arange(32, device="cuda")
    for _ in range(WARMUP_STEPS + 1):
        step.set_lr(0.1)
        step(Batch(index))
    torch.cuda.set_sync_debug_mode("error")
    try:
        step.set_lr(0.1)
        step(Batch(index))
        step(Batch(index[:16]))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_model_that_reads_from_the_device_is_named_with_its_remedy(tiny: Make) -> None:
    class Reading(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean((2, 3))
            return super().forward(mean) * (1 if mean.sum().item() > 0 else 2)

    config = tiny("runtime.device=cuda")
    data = load_data(build_source(config), 40, None, 0, torch.device("cuda"))
    step = Step(make_context(config, data.train, network=Reading(3, 4).cuda()))
    for _ in range(WARMUP_STEPS):
        step(Batch(torch.arange(32, device="cuda")))
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graph=false"):
        step(Batch(torch.arange(32, device="cuda")))


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_data_on_the_host_trains_as_data_on_the_gpu(
    tiny: Make, tmp_path: Path, cuda_graph: bool
) -> None:
    setting = ["trainer.deterministic=true", "record.step_loss=true", "dataset.num_train=150"]
    place = ["runtime.device=cuda", f"runtime.cuda_graph={cuda_graph}"]
    on_device, on_host = (
        steps(
            tiny(
                *setting,
                *place,
                f"runtime.data_on={data_on}",
                f"runtime.outputs={tmp_path}/{data_on}",
            )
        )
        for data_on in ("device", "host")
    )
    assert numpy.array_equal(on_host, on_device)


def test_a_slow_device_is_not_filled_with_batches_that_wait() -> None:
    images = numpy.zeros((40, 1024, 1024, 3), dtype=numpy.uint8)
    labels = torch.zeros(40, dtype=torch.int64, device="cuda")
    split = HostSplit(ImageArray(images, numpy.arange(40)), labels)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in split.batches(torch.arange(40, device="cuda"), 1):
        torch.cuda._sleep(20_000_000)  # cycles, about ten milliseconds
    torch.cuda.synchronize()
    one_batch = images[0].nbytes
    assert torch.cuda.max_memory_allocated() - before < 8 * one_batch
