"""The training core: it visits every image once, equals a naive loop, learns, and notices
divergence.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from augean.config.schema import Config
from augean.datasets.base import ImageArray
from augean.errors import AugeanError
from augean.training.augmentation import crop_and_flip, cutout, mixup, normalize, pad
from augean.training.build import build_model
from augean.training.data import Batch, HostSplit, Split
from augean.training.device import algorithms, choose_layout, seed_all
from augean.training.loop import evaluate, fit
from augean.training.results import DivergedError, EpochResult
from augean.training.step import WARMUP_STEPS, Step, begin_momentum, compile_network
from contexts import make_context

Make = Callable[..., Config]
CLASSES = 4
CPU = torch.device("cpu")


def make_split(count: int, seed: int = 0, size: int = 16) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = torch.randint(0, 120, (count, size, size, 3), generator=generator)
    images += 30 * labels.view(-1, 1, 1, 1)
    return Split(images.to(torch.uint8), labels)


def run_fit(config: Config, train: Split, val: Split | None) -> tuple[list[EpochResult], nn.Module]:
    context = make_context(config, train, val)
    return list(fit(context)), context.network


class Remember(nn.Module):
    """A linear classifier that notes the images it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, CLASSES)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(images.detach()[:, 0, 0, 0].clone())
        return self.linear(images.mean((2, 3)))


@pytest.mark.parametrize("batch_size", [32, 100, 7])
def test_each_image_is_visited_once_an_epoch_in_a_new_order(tiny: Make, batch_size: int) -> None:
    config = tiny("augmentation=none", f"trainer.batch_size={batch_size}", "trainer.epochs=2")
    config.dataset.mean, config.dataset.std = [0.0] * 3, [1 / 255] * 3
    numbers = torch.arange(100, dtype=torch.uint8)
    split = Split(
        numbers.view(-1, 1, 1, 1).expand(-1, 16, 16, 3).contiguous(),
        torch.zeros(100, dtype=torch.int64),
    )
    network = Remember()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    epochs = []
    for _ in fit(make_context(config, split, split, network=network, optimizer=optimizer)):
        assert [len(batch) for batch in network.seen[:-1]] == [batch_size] * (len(network.seen) - 1)
        epochs.append(torch.cat(network.seen).round().int().tolist())
        network.seen.clear()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(100))
    assert epochs[0] != epochs[1]


def naive_loop(config: Config, train: Split, val: Split) -> tuple[list[float], nn.Module]:
    """One step after the other as a textbook has it: torch's own scheduler and `loss.item()` each
    step.
    """
    context = make_context(config, train)
    network, optimizer = context.network, context.optimizer
    regularization = config.regularization
    smoothing = regularization.label_smoothing
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=config.schedule.factor, patience=config.schedule.patience, threshold=0
    )
    mean, std = torch.tensor(config.dataset.mean), torch.tensor(config.dataset.std)
    padded = pad(train.images, config.augmentation.crop_padding)
    losses = []
    for epoch in range(1, config.trainer.epochs + 1):
        seed_all(config.seed, epoch)
        if config.trainer.reset_optimizer == "epoch":
            state = optimizer.state_dict()
            state["state"] = {}
            optimizer.load_state_dict(state)
        network.train()
        order = torch.randperm(len(train))
        for index in order.split(config.trainer.batch_size):
            images = normalize(
                crop_and_flip(padded, index, 16, config.augmentation.flip), mean, std
            )
            if regularization.cutout:
                images = cutout(images, regularization.cutout)
            labels = train.labels[index]
            if regularization.mixup:
                images, partner, weight = mixup(images, regularization.mixup)
            logits = network(images.contiguous(memory_format=choose_layout(network, CPU)))
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
            if regularization.mixup:
                other = functional.cross_entropy(logits, labels[partner], label_smoothing=smoothing)
                loss = weight * loss + (1 - weight) * other
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        plateau.step(evaluate(network, val, config).loss)
    return losses, network


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "optimizer=adam",
        "optimizer=adamw regularization.weight_decay=0.01",
        "optimizer=adagrad",
        "optimizer=rmsprop",
        "regularization=l2_1e-3",
        "regularization=label_smoothing",
        "regularization=dropout",
        "regularization=cutout regularization.cutout=4",
        "regularization=mixup",
        "augmentation=none",
        "trainer.reset_optimizer=epoch",
        "schedule.patience=0",
        "model=vgg_a optimizer.lr=0.01",
        "model=vgg_a_bn",
    ],
)
def test_the_fast_loop_equals_a_naive_one_over_50_steps(tiny: Make, overrides: str) -> None:
    config = tiny("trainer.epochs=10", *overrides.split())
    train, val = make_split(150), make_split(40, seed=1)
    results, network = run_fit(config, train, val)
    losses, reference = naive_loop(config, train, val)
    assert len(losses) == 50
    ours = [loss for result in results for loss in result.step_losses]
    assert ours == pytest.approx(losses, rel=1e-5, abs=1e-6)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["resnet18", "vgg_a_bn"])
def test_the_network_overfits_one_batch(tiny: Make, model: str) -> None:
    config = tiny(f"model={model}", "augmentation=none", "trainer.epochs=40", "schedule=constant")
    split = make_split(32)
    split = Split(torch.randint(0, 256, split.images.shape, dtype=torch.uint8), split.labels)
    results, _ = run_fit(config, split, None)
    assert results[-1].train_accuracy == 1.0
    assert results[-1].train_loss < 0.1 < results[0].train_loss


def test_the_epochs_numbers_are_means_over_its_images(tiny: Make) -> None:
    config = tiny("trainer.epochs=1")
    results, _ = run_fit(config, make_split(70), make_split(30, seed=1))
    sizes = [32, 32, 6]
    mean = sum(loss * size for loss, size in zip(results[0].step_losses, sizes, strict=True)) / 70
    assert results[0].train_loss == pytest.approx(mean, rel=1e-6)


def test_evaluation_is_the_plain_mean_over_all_images(tiny: Make) -> None:
    config, split = tiny(), make_split(1003, size=8)
    network = make_context(config, make_split(100)).network.eval()
    score = evaluate(network, split, config)
    mean, std = torch.tensor(config.dataset.mean), torch.tensor(config.dataset.std)
    with torch.no_grad():
        logits = network(normalize(split.images.permute(0, 3, 1, 2), mean, std))
    assert score.loss == pytest.approx(
        functional.cross_entropy(logits, split.labels).item(), rel=1e-5
    )
    assert score.accuracy == pytest.approx((logits.argmax(1) == split.labels).float().mean().item())
    assert score.confusion.sum() == len(split)
    assert (
        score.confusion.sum(1).tolist() == torch.bincount(split.labels, minlength=CLASSES).tolist()
    )


def test_training_is_the_same_from_the_same_seed_and_another_from_another(tiny: Make) -> None:
    train, val = make_split(100), make_split(40, seed=1)
    first, again, other = (
        run_fit(tiny(f"seed={seed}"), train, val)[0][-1].step_losses for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_loss_that_is_not_finite_is_reported_with_epoch_step_and_last_good_loss(
    tiny: Make,
) -> None:
    config = tiny("optimizer.lr=1e18", "schedule=constant", "model=vgg_a")
    with pytest.raises(DivergedError) as caught:
        run_fit(config, make_split(100), make_split(40, seed=1))
    assert caught.value.epoch == 1
    assert caught.value.step > 1
    assert caught.value.last_loss is not None
    assert math.isfinite(caught.value.last_loss)


def test_fit_asks_its_tracker_for_every_step(tiny: Make) -> None:
    config, train = tiny("trainer.epochs=2"), make_split(70)
    steps: list[int] = []

    def track(numbers: Iterable[int]) -> Iterable[int]:
        for number in numbers:
            steps.append(number)
            yield number

    list(fit(make_context(config, train), track=track))
    assert steps == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("channels", "layout"), [(8, torch.contiguous_format), (16, torch.channels_last)]
)
def test_the_layout_that_corrupts_the_heap_of_cpus_is_not_used(
    tiny: Make, channels: int, layout: torch.memory_format
) -> None:
    network = build_model(tiny(f"width.channels={channels}"), CLASSES)
    assert choose_layout(network, CPU) == layout
    assert choose_layout(network, torch.device("cuda")) == torch.channels_last


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_stays_in_a_band_around_fp32(tiny: Make, precision: str) -> None:
    """Each of 15 losses within 0.1 of fp32's; the scaler of fp16 begins low enough not to skip its
    first steps.
    """
    train, curves = make_split(150), []
    for name in ("fp32", precision):
        config = tiny(f"trainer.precision={name}", "optimizer.lr=0.001")
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=name == "fp16")
        results = fit(make_context(config, train, scaler=scaler))
        curves.append([loss for result in results for loss in result.step_losses])
    assert curves[1] == pytest.approx(curves[0], abs=0.1)
    assert curves[1] != curves[0]


@pytest.mark.parametrize("reset", ["never", "epoch"])
def test_a_first_step_that_overflows_in_fp16_leaves_no_trace_in_fused_sgd(
    tiny: Make, reset: str
) -> None:
    # Deterministic algorithms fill unset memory with NaN, so that taking it for the momentum shows.
    config = tiny("trainer.precision=fp16", "trainer.epochs=2", f"trainer.reset_optimizer={reset}")
    config.optimizer.arguments["fused"] = True
    train, curves = make_split(150), []
    for scale in (2.0**40, 2.0**10):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, backoff_factor=2.0**-30)
        context = make_context(config, train, scaler=scaler)
        with algorithms(deterministic=True):
            results = list(fit(context))
        curves.append([loss for result in results for loss in result.step_losses])
        assert all(value.isfinite().all() for value in context.network.state_dict().values())
    assert curves[0][0] == curves[1][0]
    assert curves[0] != curves[1]  # a step was left out


def test_momentum_that_begins_at_zero_is_that_of_torch() -> None:
    weights = [nn.Parameter(torch.ones(5)) for _ in range(2)]
    optimizers = [
        torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1, fused=True)
        for weight in weights
    ]
    begin_momentum(optimizers[0])
    for _ in range(3):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = torch.arange(5.0)
            optimizer.step()
    assert torch.equal(*weights)


@pytest.mark.parametrize("fails_again", [True, False])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            torch.OutOfMemoryError,
        ),
        (RuntimeError("operation not permitted when stream is capturing"), AugeanError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["memory", "recording", "signal"],
)
def test_why_a_step_cannot_be_captured_is_said_even_if_ending_the_capture_fails(
    tiny: Make,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    told: type[BaseException],
    fails_again: bool,
) -> None:
    @contextmanager
    def recording(_: object, *, stream: str, **_options: str) -> Iterator[None]:
        # It stays the current one, as with torch where the end of a capture fails.
        streams.append(stream)
        try:
            yield
        finally:
            if fails_again:
                raise RuntimeError("operation failed due to a previous error during capture")

    def fail(*_: object) -> None:
        raise type(error)(*error.args)

    config, train = tiny(), make_split(64)
    step = Step(make_context(config, train))
    step.uses_graph = True
    step.num_warmup_left = 0
    streams = stand_in_streams(monkeypatch)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandInGraph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(step, "backward", fail)
    with pytest.raises(
        told,
        match=r"runtime\.cuda_graph=false\noperation not permitted"
        if told is AugeanError
        else None,
    ):
        step(Batch(torch.arange(32)))
    assert streams == ["current", "side", "current"]


class StandInStream(str):
    """Names a stream, on a machine that has none."""

    def wait_stream(self, _: str) -> None:
        """Do nothing: nothing runs ahead of the host."""


def stand_in_streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a step believe that there are streams; return the list to which those it sets go."""
    streams = ["current"]

    @contextmanager
    def set_inside(stream: str) -> Iterator[None]:
        streams.append(stream)
        yield
        streams.append("current")

    monkeypatch.setattr("augean.training.step.side_stream", lambda _: StandInStream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: StandInStream(streams[-1]))
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(torch.cuda, "stream", set_inside)
    return streams


@pytest.mark.parametrize("optimizer_in_graph", [True, False])
@pytest.mark.parametrize("fails_in", ["backward", "update"])
def test_a_step_that_waits_is_refused_in_the_last_one_before_its_capture(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, fails_in: str, optimizer_in_graph: bool
) -> None:
    modes: list[int | str] = [0]
    stand_in_streams(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    step = Step(make_context(tiny(), make_split(64)))
    step.uses_graph = True
    step.optimizer_in_graph = optimizer_in_graph
    does = getattr(step, fails_in)

    def wait(*arguments: Tensor) -> object:
        if modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return does(*arguments)

    monkeypatch.setattr(step, fails_in, wait)
    batch = Batch(torch.arange(32))
    for _ in range(WARMUP_STEPS - 1):
        step(batch)
    assert modes == [0]
    if fails_in == "update" and not optimizer_in_graph:
        step(batch)  # outside the graph an update may wait
    else:
        with pytest.raises(AugeanError, match=r"runtime\.cuda_graph=false\ncalled a sync"):
            step(batch)
    assert modes == [0, "error", 0]


class StandInGraph:
    """Captures a step as the function that makes it, so that what `Step` keeps around a graph
    runs on the CPU.

    What a real graph does (fixed memory, no host code on replay) is in tests/training/test_cuda.py.
    """

    def __init__(self) -> None:
        self.num_replays = 0
        self.play: Callable[[], None] = lambda: None

    def replay(self) -> None:
        self.num_replays += 1
        self.play()

    def reset(self) -> None:
        self.play = lambda: None


@pytest.mark.parametrize(
    "overrides", ["", "optimizer=adam", "optimizer=adagrad", "trainer.reset_optimizer=epoch"]
)
@pytest.mark.parametrize(("whole", "on_host"), [(True, False), (False, False), (False, True)])
def test_replayed_steps_with_short_batches_between_equal_eager_ones(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, overrides: str, whole: bool, on_host: bool
) -> None:
    config = tiny("trainer.epochs=4", *overrides.split())
    train, val = make_split(150), make_split(40, seed=1)
    expected, reference = run_fit(config, train, val)
    if on_host:
        train = HostSplit(ImageArray(train.images.numpy(), numpy.arange(150)), train.labels)
    graph = StandInGraph()

    class Replaying(Step):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.uses_graph = True
            self.optimizer_in_graph = whole

        def set_lr(self, lr: float) -> None:
            for group in self.optimizer.param_groups:
                group["lr"] = lr

        def _warm_up(self, batch: Batch) -> tuple[Tensor, Tensor]:
            return self.eager(*self.augmented(batch))

        def _capture(self, batch: Batch) -> None:
            pixels = None if batch.pixels is None else batch.pixels.clone()
            self.graph_input = Batch(batch.index.clone(), pixels)
            self.graph = graph  # type: ignore[assignment]
            self.graph_gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
            self.graph_result = torch.zeros(()), torch.zeros(())

            def play() -> None:
                kept = [parameter.grad for parameter in self.parameters]
                for target, value in zip(
                    self.graph_result, self.backward(*self.augmented(self.graph_input)), strict=True
                ):
                    target.copy_(value)
                if self.optimizer_in_graph:
                    self.update()
                for parameter, mine, before in zip(
                    self.parameters, self.graph_gradients, kept, strict=True
                ):
                    mine.copy_(parameter.grad)  # type: ignore[arg-type]
                    parameter.grad = before  # a graph writes to its own memory alone

            graph.play = play

    monkeypatch.setattr("augean.training.loop.Step", Replaying)
    results, network = run_fit(config, train, val)
    assert (
        graph.num_replays == 4 * 4 - WARMUP_STEPS
    )  # four full batches an epoch, and one of 22 images
    assert [result.step_losses for result in results] == [result.step_losses for result in expected]
    assert all(
        torch.equal(value, network.state_dict()[name])
        for name, value in reference.state_dict().items()
    )


@pytest.mark.parametrize(("name", "makes"), [("cosine", "cosine"), ("onecycle", "linear")])
def test_schedules_of_the_fast_loop_equal_torchs_own_over_50_steps(
    tiny: Make, name: str, makes: str
) -> None:
    config = tiny("trainer.epochs=10", f"schedule={name}", "schedule.warmup=0.2")
    train, val = make_split(150), make_split(40, seed=1)
    results, _ = run_fit(config, train, val)
    context = make_context(config, train)
    reference, optimizer = context.network, context.optimizer
    warmup = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1 / 10, 1.0, 9
    )  # step 0 has a tenth, step 9 the whole rate
    decay: torch.optim.lr_scheduler.LRScheduler = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        if makes == "cosine"
        else torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 40)
    )
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], [10])
    mean, std = torch.tensor(config.dataset.mean), torch.tensor(config.dataset.std)
    padded, losses, rates = pad(train.images, config.augmentation.crop_padding), [], []
    for epoch in range(1, 11):
        seed_all(config.seed, epoch)
        reference.train()
        for index in torch.randperm(len(train)).split(config.trainer.batch_size):
            images = normalize(
                crop_and_flip(padded, index, 16, config.augmentation.flip), mean, std
            )
            logits = reference(images.contiguous(memory_format=choose_layout(reference, CPU)))
            loss = functional.cross_entropy(logits, train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        evaluate(reference, val, config)
    assert [result.lr for result in results] == pytest.approx(rates[::5], rel=1e-6)
    assert [loss for result in results for loss in result.step_losses] == pytest.approx(
        losses, rel=1e-5, abs=1e-6
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """Sizes of the first dimension of the inputs of each graph that is compiled; a varying size is
    0.
    """
    sizes: list[list[int]] = []

    def backend(
        graph: torch.fx.GraphModule, inputs: list[object], **_: object
    ) -> torch.fx.GraphModule:
        sizes.append(
            [len(value) if isinstance(value, Tensor) and value.ndim else 0 for value in inputs]
        )
        return graph

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    yield sizes
    torch.compiler.reset()


def test_every_network_of_a_sweep_is_compiled_and_none_for_sizes_that_vary(
    compiled: list[list[int]],
) -> None:
    for channels in range(1, 6):  # torch's own limit is 8 variants
        network = compile_network(nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU()), CPU)
        for batch_size in (8, 5):
            network(torch.zeros(batch_size, 3, 16, 16))
    assert len(compiled) == 10
    assert all(min(sizes) > 0 for sizes in compiled)


def test_only_full_batches_are_compiled_and_once_for_all_runs(
    tiny: Make, compiled: list[list[int]]
) -> None:
    config = tiny("runtime.compile=true", "trainer.batch_size=48", "record.probe_every=4")
    train, val = make_split(160), make_split(40)
    run_fit(config, train, val)
    assert len(compiled) == 1
    assert 48 in compiled[0]
    run_fit(tiny("runtime.compile=true", "trainer.batch_size=48", "seed=1"), train, val)
    assert len(compiled) == 1


def test_a_compiled_run_learns_what_an_eager_one_does(
    tiny: Make, compiled: list[list[int]]
) -> None:
    train, val = make_split(160), make_split(40)
    eager, other = (
        run_fit(tiny(f"runtime.compile={on}", "trainer.batch_size=48"), train, val)
        for on in (False, True)
    )
    assert compiled
    for one, two in zip(eager[0], other[0], strict=True):
        assert two.step_losses == pytest.approx(one.step_losses, rel=1e-4)
    state = other[1].state_dict()
    assert list(state) == list(eager[1].state_dict())
    for name, value in eager[1].state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("channels", "options"), [(8, {"layout_optimization": False}), (16, None)])
def test_the_compiler_keeps_away_from_the_layout_that_corrupts_the_heap_of_cpus(
    tiny: Make, channels: int, options: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(network: nn.Module, **given: object) -> nn.Module:
        asked.append(given["options"])
        return network

    monkeypatch.setattr(torch, "compile", note)
    compile_network(build_model(tiny(f"width.channels={channels}"), CLASSES), CPU)
    assert asked == [options]


def fake_gradient(config: Config, build: Callable[[], nn.Module] | None = None) -> Tensor:
    """The loss of a step and its gradient without values: what asks for one, and so would wait for
    a GPU, fails.
    """
    with FakeTensorMode():
        network = build() if build else build_model(config, CLASSES)
        train = Split(
            torch.zeros(160, 16, 16, 3, dtype=torch.uint8), torch.zeros(160, dtype=torch.int64)
        )
        step = Step(make_context(config, train, network=network))
        loss, _ = step.backward(*step.augmented(Batch(torch.arange(32))))
        assert all(parameter.grad is not None for parameter in network.parameters())
    return loss


@pytest.mark.parametrize(
    "overrides",
    [
        "activation=leaky_relu",
        "model=vgg_a_bn regularization=dropout trainer.precision=bf16",
        "regularization=mixup regularization.label_smoothing=0.1",
        "regularization=cutout regularization.cutout=4 augmentation=none",
    ],
)
def test_no_gradient_needs_a_value_from_the_device(tiny: Make, overrides: str) -> None:
    assert fake_gradient(tiny(*overrides.split())).shape == ()


def test_a_network_that_reads_a_value_is_noticed_by_the_test_above(tiny: Make) -> None:
    class Reading(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean((2, 3))
            return super().forward(mean) * (1 if mean.sum().item() > 0 else 2)

    with pytest.raises(DataDependentOutputException):
        fake_gradient(tiny(), lambda: Reading(3, CLASSES))
