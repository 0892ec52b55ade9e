"""The training loop: plain PyTorch, no host synchronisation inside an epoch, all randomness from
(seed, epoch).

`fit` is a generator of epoch results; logging, checkpoints, progress and signals are its consumer's
business.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn
from torch.nn import functional

from augean.config.schema import Config
from augean.training.data import Split
from augean.training.device import autocast, seed_all
from augean.training.loss_landscape import ProbeRow
from augean.training.lr_schedule import LRSchedule
from augean.training.results import DivergedError, EpochResult, Score
from augean.training.step import Inputs, Step, begin_momentum, probe_step

EVALUATION_BATCH = 1000


def fit(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: LRSchedule,
    scaler: torch.amp.GradScaler,
    train: Split,
    val: Split | None,
    config: Config,
    *,
    first_epoch: int = 1,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Iterator[EpochResult]:
    """Train from `first_epoch` to the last one, yielding after each.

    Args:
        network: on the device of `train`, like the optimizer's state; both are changed in place.
        scaler: for fp16; a disabled one otherwise.
        track: wraps the range of an epoch's steps, for a progress bar.

    Raises:
        DivergedError: after an epoch with a loss, in training or validation, that is NaN or
            infinite.
        ConfigError: when a step cannot be recorded as a CUDA graph.
    """
    device, batch_size = train.images.device, config.trainer.batch_size
    step, num_images = Step(network, optimizer, scaler, train, config), len(train)
    num_steps = math.ceil(num_images / batch_size)
    sizes = torch.full((num_steps,), batch_size, dtype=torch.float64)
    sizes[-1] = num_images - batch_size * (num_steps - 1)
    for epoch in range(first_epoch, config.trainer.epochs + 1):
        seed_all(config.seed, epoch)
        if config.trainer.reset_optimizer == "epoch":
            optimizer.state.clear()
        if scaler.is_enabled():
            begin_momentum(optimizer)
        network.train()
        start = time.perf_counter()
        order = torch.randperm(num_images, device=device)
        losses, num_right = torch.zeros(num_steps, device=device), torch.zeros((), device=device)
        probes: list[ProbeRow] = []
        first_rate = schedule.rate((epoch - 1) * num_steps)
        for number in track(range(num_steps)):
            index = order[number * batch_size : (number + 1) * batch_size]
            total = (epoch - 1) * num_steps + number
            rate = schedule.rate(total)
            step.set_rate(rate)
            if config.record.probe_every and total % config.record.probe_every == 0:
                images, labels = step.batch(index)
                rows = probe_step(network, images, labels, step.make_inputs, config, rate)
                probes += [{"step": total, "lr": rate, **row} for row in rows]
                loss, right = step.eager(images, labels)
            else:
                loss, right = step(index)
            losses[number] = loss
            num_right += right
        step_losses = losses.cpu()  # the epoch's only synchronisation
        seconds = time.perf_counter() - start
        if not step_losses.isfinite().all():
            bad = int((~step_losses.isfinite()).nonzero()[0])
            raise DivergedError(epoch, step_losses[:bad].tolist(), probes)
        score = evaluate(network, val, config) if val is not None else None
        if score is not None and not math.isfinite(
            score.loss
        ):  # the last step's blow shows only here
            raise DivergedError(epoch, step_losses.tolist(), probes)
        schedule.end_epoch(score.loss if score else None)
        yield EpochResult(
            epoch=epoch,
            lr=first_rate,
            train_loss=float((step_losses.double() * sizes).sum() / num_images),
            train_accuracy=num_right.item() / num_images,
            val_loss=score.loss if score else None,
            val_accuracy=score.accuracy if score else None,
            seconds=seconds,
            images_per_second=num_images / seconds,
            step_losses=step_losses.tolist(),
            probes=probes,
        )


@torch.inference_mode()
def evaluate(network: nn.Module, split: Split, config: Config) -> Score:
    """Loss, accuracy and confusion matrix on a split, without augmentation."""
    network.eval()
    device = split.images.device
    make_inputs = Inputs(network, config, device)
    total, confusion = torch.zeros((), device=device), torch.zeros(0, device=device)
    for start in range(0, len(split), EVALUATION_BATCH):
        images = split.images[start : start + EVALUATION_BATCH].permute(0, 3, 1, 2)
        labels = split.labels[start : start + EVALUATION_BATCH]
        with autocast(config, device):
            logits = network(make_inputs(images))
        logits, num_classes = logits.float(), logits.shape[1]
        total += functional.cross_entropy(logits, labels, reduction="sum")
        if not len(confusion):
            confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
        # bincount would wait for the device, to learn the length of its result.
        confusion.index_add_(0, labels * num_classes + logits.argmax(1), torch.ones_like(labels))
    confusion = confusion.cpu().view(num_classes, num_classes)
    return Score(
        loss=total.item() / len(split),
        accuracy=int(confusion.trace()) / len(split),
        confusion=confusion,
    )
