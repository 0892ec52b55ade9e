"""One training step: batch, loss, gradient and update; on CUDA captured as a graph and replayed."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from augean.config.schema import Config
from augean.errors import AugeanError
from augean.models.norm_activation import fused_norms
from augean.training.augmentation import crop_and_flip, cutout, mixup, normalize, pad, resized_crop
from augean.training.build import TrainingContext
from augean.training.data import Batch, Split
from augean.training.device import autocast, choose_layout
from augean.training.loss_landscape import ProbeRow, probe

WARMUP_STEPS = 3
"""Steps on CUDA before one is captured. In them cuDNN chooses its algorithms and the optimizer
makes its state, neither of which a graph can hold."""
RECOMPILE_LIMIT = 2**16
"""Variants of a network's code that torch.compile keeps: more than any sweep has."""
_failed_graphs: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture failed. torch's allocator may go on asking them whether new memory is theirs
(seen in 2.11 and 2.14), so they must not be freed."""


def compile_network(network: nn.Module, device: torch.device) -> nn.Module:
    """Compile a network with `torch.compile`; the result shares weights and buffers with it."""
    # By default torch keeps code for 8 variants of a class, and runs further ones uncompiled with a
    # warning. The third network of a sweep would be among them.
    torch.compiler.config.recompile_limit = RECOMPILE_LIMIT
    torch.compiler.config.accumulated_recompile_limit = RECOMPILE_LIMIT
    # By itself the compiler chooses channels_last even where `choose_layout` avoids it.
    options: dict[str, Any] | None = None
    if choose_layout(network, device) != torch.channels_last:
        options = {"layout_optimization": False}
    # `dynamic=False`: after two image sizes torch would compile for any size, which is slower code,
    # and do so at once for later networks.
    compiled = torch.compile(network, dynamic=False, options=options)
    assert isinstance(compiled, nn.Module)
    return compiled


class Inputs:
    """Turns uint8 batches into what the network takes.

    That is normalised, in fp32, in the network's memory layout.
    """

    def __init__(self, network: nn.Module, config: Config, device: torch.device) -> None:
        self.mean = torch.tensor(config.dataset.mean, device=device)  # fp32 [3]
        self.std = torch.tensor(config.dataset.std, device=device)  # fp32 [3]
        self.layout = choose_layout(network, device)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the inputs of `images`, uint8 [B, 3, H, W], as fp32 of that shape."""
        return normalize(images, self.mean, self.std).contiguous(memory_format=self.layout)


def batch_loss(
    network: nn.Module, images: Tensor, labels: Tensor, make_inputs: Inputs, config: Config
) -> tuple[Tensor, Tensor]:
    """Return the loss that is optimised, and the number of right predictions, of one batch.

    Args:
        images: uint8 [B, 3, H, W], augmented.
        labels: int64 [B].

    Returns:
        Scalar loss, and the scalar count; under mixup a prediction counts by its label's weight.
    """
    regularization = config.regularization
    inputs = make_inputs(images)
    if regularization.cutout:
        inputs = cutout(inputs, regularization.cutout)
    other = labels
    weight = None
    if regularization.mixup:
        inputs, partner, weight = mixup(inputs, regularization.mixup)
        other = labels[partner]
    with autocast(config, images.device):
        logits = network(inputs)
    # The loss is computed in fp32: softmax sums over classes, where bf16 has too few digits.
    logits = logits.float()  # [B, classes]
    smoothing = regularization.label_smoothing
    predicted = logits.detach().argmax(1)  # [B]
    loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    num_right = (predicted == labels).sum(dtype=torch.float32)
    # A mixed image has two labels, and the loss is mixed as the images are.
    if weight is not None:
        other_loss = functional.cross_entropy(logits, other, label_smoothing=smoothing)
        other_right = (predicted == other).sum(dtype=torch.float32)
        loss = weight * loss + (1 - weight) * other_loss
        num_right = weight * num_right + (1 - weight) * other_right
    return loss, num_right


def probe_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    make_inputs: Inputs,
    config: Config,
    lr: float,
) -> list[ProbeRow]:
    """Probe the loss landscape around the weights before a step of learning rate `lr`.

    The other arguments are those of `batch_loss`.
    """
    # Step sizes in equal ratios, from `low` to `high` times the learning rate.
    low, high = config.record.probe_range
    last = config.record.probe_points - 1
    step_sizes = [lr * low * (high / low) ** (index / last) for index in range(last + 1)]
    # In fp32 whatever the run's precision: in bf16 the change of the gradient over the smallest
    # step is smaller than its rounding error.
    exact = replace(config, trainer=replace(config.trainer, precision="fp32"))
    return probe(
        network,
        lambda: batch_loss(network, images, labels, make_inputs, exact)[0],
        step_sizes,
        images.device,
    )


def begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give fused SGD a momentum of zeros before its first step.

    In fp16 the first step often overflows and is skipped. torch 2.14 then reads uninitialised
    memory as the momentum. Without dampening, zeros give the same first step as no momentum.
    """
    for group in optimizer.param_groups:
        if group.get("fused") and group.get("momentum"):
            for parameter in group["params"]:
                optimizer.state[parameter].setdefault(
                    "momentum_buffer", torch.zeros_like(parameter)
                )


@lru_cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all warm-up steps and captures on a device.

    One for all runs: cuBLAS keeps a workspace for each stream for ever, 32 MiB on an H100, and the
    memory of one stream's tensors is not used for those of another.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def refusing_waits() -> Iterator[None]:
    """Raise a RuntimeError where the host would wait for the device inside the block."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # torch warns that the mode does not see every wait. A capture finds the others.
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def explain_capture(cause: BaseException) -> AugeanError:
    """Return the error of a step that cannot be captured.

    Not a ConfigError, as the same config can be trained without a capture.
    """
    return AugeanError(
        "runtime.cuda_graph=true: a step of this model or optimizer cannot be captured, for example"
        " because it reads a number from the device; set runtime.cuda_graph=false"
        f"\n{cause}"
    )


class Step:
    """One training step: batch, loss, gradient, update.

    On CUDA it is captured as a graph after `WARMUP_STEPS` steps and replayed from then on, so that
    a step costs the host one launch instead of some hundred. The optimizer is in the graph where it
    reads its learning rate from the device and keeps its state (see
    `augean.training.optimizer.build_optimizer`); else it steps outside.

    A last, shorter batch is neither captured nor compiled: code for its size takes longer to make
    than it could save.
    """

    def __init__(self, context: TrainingContext) -> None:
        config = context.config
        device = context.device
        self.config = config
        self.device = device
        self.network = context.network
        self.optimizer = context.optimizer
        self.scaler = context.scaler
        self.train = context.train
        self.padded: Tensor | None = None
        """All images with their padding, where they are on the device."""
        if isinstance(self.train, Split):
            self.padded = pad(self.train.images, config.augmentation.crop_padding)
        self.make_inputs = Inputs(self.network, config, device)
        self.compiled = compile_network(self.network, device) if config.runtime.compile else None
        self.parameters = [
            parameter for parameter in self.network.parameters() if parameter.requires_grad
        ]
        # A probe looks at a batch before its step, so the two cannot be one capture.
        cuda_graph = device.type == "cuda" and config.runtime.cuda_graph
        self.uses_graph = cuda_graph and not config.record.probe_every
        self.num_warmup_left = WARMUP_STEPS
        self.graph: torch.cuda.CUDAGraph | None = None
        self.graph_input: Batch
        """The batch that a replay reads; the graph and these exist from the capture on."""
        self.graph_result: tuple[Tensor, Tensor]
        """Loss and number of right predictions that a replay writes."""
        self.graph_gradients: list[Tensor | None]
        """The gradients that a replay writes."""
        # Adam and its like have the option `capturable`. SGD has not: its fused form can be
        # captured.
        defaults = self.optimizer.defaults
        capturable = bool(defaults.get("capturable", defaults.get("fused")))
        # The graph would go on using the memory of a state that was cleared. A scaler decides on
        # the host whether to step.
        resets = config.trainer.reset_optimizer == "epoch"
        can_hold_optimizer = capturable and not resets and not self.scaler.is_enabled()
        self.optimizer_in_graph = self.uses_graph and can_hold_optimizer
        """Whether a replay updates the weights too, or the optimizer steps outside the graph."""
        # The optimizer reads the learning rate from the device in every step, captured or not. From
        # a number of the host it would compute other last bits.
        self.lr_on_device = device.type == "cuda" and capturable
        if self.lr_on_device:
            for group in self.optimizer.param_groups:
                group["lr"] = torch.zeros((), device=device)

    def augmented(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch, augmented, as uint8 [B, 3, H, W], with its labels, int64 [B]."""
        augmentation = self.config.augmentation
        size = self.train.image_size
        # The images to crop, with their padding, and the positions of the batch among them.
        padded = self.padded
        index = batch.index
        if padded is None:
            assert batch.pixels is not None  # as the images are on the host
            padded = pad(batch.pixels, augmentation.crop_padding)
            index = torch.arange(len(batch), device=padded.device)
        if augmentation.crop_area < 1:
            images = resized_crop(padded[index], augmentation.crop_area, augmentation.flip)
        else:
            images = crop_and_flip(padded, index, size, augmentation.flip)
        return images, self.train.labels[batch.index]

    def backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the gradient on the parameters.

        Returns:
            Loss and number of right predictions, see `batch_loss`.
        """
        is_full = len(labels) == self.config.trainer.batch_size
        network = self.network
        if is_full and self.compiled is not None:
            network = self.compiled
        with fused_norms(self.config.runtime.fused_norm):
            loss, num_right = batch_loss(network, images, labels, self.make_inputs, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), num_right

    def update(self) -> None:
        """Apply the gradient."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            group_lr = lr * group.get("lr_factor", 1.0)
            if self.lr_on_device:
                group["lr"].fill_(group_lr)
            else:
                group["lr"] = group_lr

    def eager(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step on a given batch, not captured; returns as `backward`."""
        result = self.backward(images, labels)
        self.update()
        return result

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make a step on a batch of the training set.

        Returns:
            As `backward`, valid until the next call.
        """
        if not self.uses_graph or len(batch) < self.config.trainer.batch_size:
            return self.eager(*self.augmented(batch))
        if self.num_warmup_left:
            self.num_warmup_left -= 1
            return self._warm_up(batch)
        if self.graph is None:
            self._capture(batch)
        assert self.graph is not None
        self.graph_input.index.copy_(batch.index)
        if self.graph_input.pixels is not None:
            assert batch.pixels is not None
            self.graph_input.pixels.copy_(batch.pixels)
        self.graph.replay()
        if not self.optimizer_in_graph:
            # The graph writes into the gradients of its capture. A shorter batch in between has
            # left others on the parameters.
            for parameter, gradient in zip(self.parameters, self.graph_gradients, strict=True):
                parameter.grad = gradient
            self.update()
        return self.graph_result

    def _warm_up(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make a step on the stream of captures, which a capture needs to have seen before."""
        stream = side_stream(self.device)
        current = torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            if self.num_warmup_left:
                result = self.eager(*self.augmented(batch))
            else:
                result = self._rehearse(batch)
        current.wait_stream(stream)
        return result

    def _rehearse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make the last step before the capture, and refuse to wait for the device in it.

        Most steps that cannot be captured wait. A capture that fails would leave the process unable
        to train on: torch 2.11 goes on taking the random numbers for captured ones. In earlier
        steps a wait may be right, where something is made for the first time.

        Raises:
            ConfigError: when the part of the step that is to be captured waits.
        """
        try:
            with refusing_waits():
                result = self.backward(*self.augmented(batch))
                if self.optimizer_in_graph:
                    self.update()
        except torch.OutOfMemoryError:
            raise  # a smaller batch helps; that is said elsewhere
        except RuntimeError as error:
            raise explain_capture(error) from error
        if not self.optimizer_in_graph:
            self.update()
        return result

    def _capture(self, batch: Batch) -> None:
        """Capture a step as a graph.

        Raises:
            ConfigError: when the model or the optimizer does what a graph cannot hold.
        """
        pixels = None if batch.pixels is None else batch.pixels.clone()
        self.graph_input = Batch(batch.index.clone(), pixels)
        graph = torch.cuda.CUDAGraph()
        stream = side_stream(self.device)
        current = torch.cuda.current_stream(self.device)
        # A graph of an earlier run that the collector frees during a capture makes it invalid.
        gc.collect()
        try:
            # "thread_local": the thread that reads images ahead allocates pinned memory meanwhile,
            # which the default mode forbids in every thread.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.graph_result = self.backward(*self.augmented(self.graph_input))
                if self.optimizer_in_graph:
                    self.update()
        except RuntimeError as error:
            # It lets go of what it holds, as it would when freed. An error here hides no cause.
            with suppress(RuntimeError):
                graph.reset()
            _failed_graphs.append(graph)
            if isinstance(error, torch.OutOfMemoryError):
                raise  # a smaller batch helps; that is said elsewhere
            # When a step fails, the end of its capture may fail as well, and hides the cause.
            cause = error.__context__ or error
            if isinstance(cause, torch.OutOfMemoryError) or not isinstance(cause, RuntimeError):
                raise cause from None
            raise explain_capture(cause) from error
        finally:
            # Where the end of a capture fails, torch leaves its stream as the current one.
            torch.cuda.set_stream(current)
        # The tensors into which each replay writes.
        self.graph_gradients = [parameter.grad for parameter in self.parameters]
        self.graph = graph
