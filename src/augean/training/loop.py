"""The training loop: plain PyTorch, without host synchronisation inside an epoch.

All randomness comes from (seed, epoch). `fit` is a generator of epoch results; logging,
checkpoints, progress and signals are left to its caller.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from augean.config.instantiate import find_class
from augean.config.schema import Config
from augean.models.dead_units import count_dead_units
from augean.training.build import TrainingContext
from augean.training.data import AnySplit
from augean.training.device import autocast, seed_all
from augean.training.loss_landscape import ProbeRow
from augean.training.results import DivergedError, EpochResult, Score
from augean.training.step import Inputs, Step, begin_momentum, probe_step

EVALUATION_BATCH = 1000
"""Images of one forward pass, if they are not larger than `EVALUATION_SIZE`."""
EVALUATION_SIZE = 64
"""Height and width in pixels. A pass has fewer of larger images, for the same memory."""
Track = Callable[[Iterable[int]], Iterable[int]]
"""Wraps the range of an epoch's steps, and returns it, to show progress."""


@dataclass(frozen=True)
class TrainedEpoch:
    """What one pass over the training set gives, before the validation."""

    first_lr: float
    step_losses: Tensor
    """fp32 [steps], on the CPU."""
    num_right: Tensor
    """Scalar, on the device: right predictions on the augmented images."""
    seconds: float
    probes: list[ProbeRow]


def fit(
    context: TrainingContext, *, first_epoch: int = 1, track: Track = iter
) -> Iterator[EpochResult]:
    """Train from `first_epoch` to the last one, and yield the result of each epoch.

    Raises:
        DivergedError: after an epoch with a loss, in training or validation, that is NaN or
            infinite.
        AugeanError: when a step cannot be captured as a CUDA graph.
    """
    config = context.config
    step = Step(context)
    for epoch in range(first_epoch, config.trainer.epochs + 1):
        trained = train_epoch(context, step, epoch, track)
        # The losses are tested once an epoch: after each step it would stall the device.
        finite = trained.step_losses.isfinite()
        if not finite.all():
            first_bad = int((~finite).nonzero()[0])
            finite_losses = trained.step_losses[:first_bad].tolist()
            raise DivergedError(epoch, first_bad + 1, finite_losses, trained.probes)
        score = None
        if context.val is not None:
            score = evaluate(context.network, context.val, config)
            # The epoch's last update comes after its last loss, so only validation can show that it
            # ruined the weights.
            if not math.isfinite(score.loss):
                raise DivergedError(epoch, None, trained.step_losses.tolist(), trained.probes)
        context.schedule.end_epoch(score.loss if score else None)
        yield epoch_result(context, epoch, trained, score)


def train_epoch(context: TrainingContext, step: Step, epoch: int, track: Track) -> TrainedEpoch:
    """Train on every image once, in an order that depends on (seed, epoch) alone."""
    config = context.config
    batch_size = config.trainer.batch_size
    num_images = len(context.train)
    num_steps = math.ceil(num_images / batch_size)
    # 1. Bring all state to where a run that resumes here would have it.
    seed_all(config.seed, epoch)
    if config.trainer.reset_optimizer == "epoch":
        context.optimizer.state.clear()
    if context.scaler.is_enabled():
        begin_momentum(context.optimizer)
    context.train_mode()

    # 2. Make the steps; their losses stay on the device until the last one.
    start = time.perf_counter()
    order = torch.randperm(num_images, device=context.device)  # int64 [N]
    losses = torch.zeros(num_steps, device=context.device)
    num_right = torch.zeros((), device=context.device)
    probes: list[ProbeRow] = []
    steps_before = (epoch - 1) * num_steps
    batches = context.train.batches(order, batch_size)
    for epoch_step, batch in zip(track(range(num_steps)), batches, strict=True):
        run_step = steps_before + epoch_step  # 0-based, over the whole run
        lr = context.schedule.lr_at(run_step)
        step.set_lr(lr)
        if config.record.probe_every and run_step % config.record.probe_every == 0:
            images, labels = step.augmented(batch)
            for row in probe_step(context.network, images, labels, step.make_inputs, config, lr):
                probes.append({"step": run_step, "lr": lr, **row})
            # Train on the very images that the probe saw: a second `batch` would augment anew.
            loss, num_right_in_batch = step.eager(images, labels)
        else:
            loss, num_right_in_batch = step(batch)
        losses[epoch_step] = loss
        num_right += num_right_in_batch
    step_losses = losses.cpu()  # the epoch's only synchronisation
    return TrainedEpoch(
        first_lr=context.schedule.lr_at(steps_before),
        step_losses=step_losses,
        num_right=num_right,
        seconds=time.perf_counter() - start,
        probes=probes,
    )


def epoch_result(
    context: TrainingContext, epoch: int, trained: TrainedEpoch, score: Score | None
) -> EpochResult:
    """Return the numbers of an epoch; means are over images, so a short last batch counts less.

    Args:
        score: on the validation split.
    """
    batch_size = context.config.trainer.batch_size
    num_images = len(context.train)
    num_steps = len(trained.step_losses)
    # Number of images of each batch. In fp64, as sums over many steps lose digits in fp32.
    sizes = torch.full((num_steps,), batch_size, dtype=torch.float64)  # [steps]
    sizes[-1] = num_images - batch_size * (num_steps - 1)
    return EpochResult(
        epoch=epoch,
        lr=trained.first_lr,
        train_loss=float((trained.step_losses.double() * sizes).sum() / num_images),
        train_accuracy=trained.num_right.item() / num_images,
        val_loss=score.loss if score else None,
        val_accuracy=score.accuracy if score else None,
        seconds=trained.seconds,
        images_per_second=num_images / trained.seconds,
        step_losses=trained.step_losses.tolist(),
        probes=trained.probes,
    )


@torch.inference_mode()
def evaluate(network: nn.Module, split: AnySplit, config: Config) -> Score:
    """Return the scores of a network on a split, without augmentation."""
    network.eval()
    device = split.labels.device
    loss_sum = torch.zeros((), device=device)  # over all images
    confusion = torch.zeros(0, device=device)  # gets its size with the first logits
    correct = torch.zeros(len(split), dtype=torch.bool, device=device)
    start = 0
    num_classes = 0  # known with the first logits too
    batches = split.in_order(evaluation_batch(split.image_size))
    for logits in logits_of(network, batches, config, device):
        labels = split.labels[start : start + len(logits)]  # [B]
        num_classes = logits.shape[1]
        loss_sum += functional.cross_entropy(logits, labels, reduction="sum")
        if not len(confusion):
            confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
        # Count each pair (true, predicted) at its place in the flattened matrix. `bincount` would
        # do the same, but waits for the device to learn the length of its result.
        predicted = logits.argmax(1)  # [B]
        confusion.index_add_(0, labels * num_classes + predicted, torch.ones_like(labels))
        correct[start : start + len(logits)] = predicted == labels
        start += len(logits)
    confusion = confusion.cpu().view(num_classes, num_classes)
    return Score(
        loss=loss_sum.item() / len(split),
        accuracy=int(confusion.trace()) / len(split),
        correct=correct.cpu(),
        confusion=confusion,
    )


def logits_of(
    network: nn.Module, batches: Iterable[Tensor], config: Config, device: torch.device
) -> Iterator[Tensor]:
    """Yield the logits of each batch of images at the precision of the run, fp32 [B, classes].

    Args:
        network: in evaluation mode, on the device.
        batches: uint8 [B, H, W, 3], on the device.
    """
    make_inputs = Inputs(network, config, device)
    for images in batches:
        with autocast(config, device):
            logits = network(make_inputs(images.permute(0, 3, 1, 2)))
        yield logits.float()


def evaluation_batch(size: int) -> int:
    """Return the number of images of `size` pixels, height and width, in one forward pass."""
    if size <= EVALUATION_SIZE:
        return EVALUATION_BATCH
    return max(1, EVALUATION_BATCH * EVALUATION_SIZE**2 // size**2)


def evaluate_final(network: nn.Module, split: AnySplit, config: Config) -> Score:
    """Evaluate a trained network on the test set, and count its dead units in the same pass."""
    activation = find_class("activation._target_", config.activation._target_, nn.Module)
    with count_dead_units(network, activation) as dead_units:
        score = evaluate(network, split, config)
    return replace(score, dead_units=dead_units.shares())
