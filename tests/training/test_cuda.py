"""What only a CUDA device can show: `make test-cuda`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from augean.config.schema import Config
from augean.datasets.base import ImageArray
from augean.errors import AugeanError
from augean.runs.address import build_source
from augean.runs.execute import execute
from augean.training.build import build_model
from augean.training.data import Batch, HostSplit, load_data
from augean.training.step import WARMUP_STEPS, Step, refusing_waits
from contexts import make_context

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
Make = Callable[..., Config]
FAIL_CAPTURE = Path(__file__).with_name("fail_capture.py")


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
    # Four steps, the last of them captured. In more, the rounding errors of bf16 grow: two correct
    # ways of rounding differ by some percent after 12 steps.
    setting = [
        model,
        f"activation={activation}",
        "trainer.batch_size=40",
        "trainer.epochs=1",
        "trainer.precision=bf16",
        "trainer.deterministic=true",
        "optimizer.lr=0.001",
        "record.step_loss=true",
        "runtime.device=cuda",
    ]
    plain, fused = (
        steps(tiny(*setting, f"runtime.fused_norm={on}", f"runtime.outputs={tmp_path}/{on}"))
        for on in (False, True)
    )
    assert fused == pytest.approx(plain, rel=2e-2)
    assert not numpy.array_equal(fused, plain), "the fused kernels did not run"


@pytest.mark.parametrize(
    ("model", "precision"), [("resnet18", "bf16"), ("vgg_a_bn", "bf16"), ("resnet18", "fp16")]
)
def test_training_with_fused_norms_is_repeated_exactly(
    tiny: Make, tmp_path: Path, model: str, precision: str
) -> None:
    # The fused kernels have no atomic additions, whose order would change from run to run.
    setting = [
        f"model={model}",
        "trainer.epochs=3",
        "trainer.batch_size=48",  # the last batch is a shorter one
        f"trainer.precision={precision}",
        "trainer.deterministic=true",
        "record.step_loss=true",
        "runtime.device=cuda",
        "runtime.fused_norm=true",
    ]
    first, again = (
        steps(tiny(*setting, f"runtime.outputs={tmp_path}/{name}")) for name in ("first", "again")
    )
    assert numpy.array_equal(again, first)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize(
    "shape", [(128, 64, 32, 32), (128, 512, 4, 4), (5, 16, 17, 17), (127, 72, 9, 9)]
)
def test_fused_pass_in_bf16_gives_what_modules_in_float64_give(
    shape: tuple[int, int, int, int], with_residual: bool, activation: str
) -> None:
    # Triton comes with torch for CUDA and is not there on other machines.
    from norm_reference import ACTIVATIONS, compare_with_modules

    torch.manual_seed(0)
    results = compare_with_modules(
        ACTIVATIONS[activation],
        shape,
        with_residual=with_residual,
        dtype=torch.bfloat16,
        device="cuda",
    )
    for name, (fused, exact) in results.items():
        # To round a tensor to bf16 changes it by 1.7e-3 of its norm. A gradient is rounded twice,
        # and ELU's derivative follows from an output that is rounded: at most 2.0e-3, by the same
        # computation on a CPU. The running statistics are fp32: 1.2e-7 there.
        limit = 1e-5 if name.startswith("running") else 5e-3
        error = (fused.double() - exact).norm() / exact.norm()
        assert error.item() < limit, f"{name}: {error.item():.1e}"


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
    with refusing_waits():
        step.set_lr(0.1)
        step(Batch(index))
        step(Batch(index[:16]))


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
    # Allocated memory would not do: a batch that waits for the device counts as freed there.
    before = torch.cuda.memory_stats()["active_bytes.all.current"]
    for _ in split.batches(torch.arange(40, device="cuda"), 1):
        torch.cuda._sleep(20_000_000)  # cycles, about ten milliseconds
    torch.cuda.synchronize()
    one_batch = images[0].nbytes
    peak = torch.cuda.memory_stats()["active_bytes.all.peak"]
    assert peak - before < 8 * one_batch


def test_a_model_that_reads_from_the_device_is_refused_before_a_capture(
    tiny: Make, tmp_path: Path
) -> None:
    class Reading(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean((2, 3))
            return super().forward(mean) * (1 if mean.sum().item() > 0 else 2)

    config = tiny("runtime.device=cuda")
    data = load_data(build_source(config), 40, None, 0, torch.device("cuda"))
    step = Step(make_context(config, data.train, network=Reading(3, 4).cuda()))
    batch = Batch(torch.arange(32, device="cuda"))
    for _ in range(WARMUP_STEPS - 1):
        step(batch)
    with pytest.raises(AugeanError, match=r"runtime\.cuda_graph=false"):
        step(batch)
    # The next run of the process is as usual.
    assert torch.cuda.get_sync_debug_mode() == 0
    outcome = execute(tiny("runtime.device=cuda", f"runtime.outputs={tmp_path}/next"))
    assert outcome.summary.status == "finished"


def test_a_failed_capture_is_named_with_its_remedy_and_leaves_the_stream() -> None:
    command = [sys.executable, "-W", "ignore", str(FAIL_CAPTURE)]
    paths = [str(FAIL_CAPTURE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
