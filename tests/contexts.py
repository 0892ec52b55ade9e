"""Training contexts of networks, images and optimizers that a test chooses."""

import math

import torch
from torch import nn

from augean.config.schema import Config
from augean.training.build import TrainingContext, build_model
from augean.training.data import AnySplit
from augean.training.device import choose_layout, seed_all
from augean.training.lr_schedule import LRSchedule
from augean.training.optimizer import build_optimizer


def make_context(
    config: Config,
    train: AnySplit,
    val: AnySplit | None = None,
    *,
    num_classes: int = 4,
    network: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> TrainingContext:
    """Return what a run of this config trains with, unless something else is given."""
    device = train.labels.device
    if network is None:
        seed_all(config.seed, 0)
        network = build_model(config, num_classes).to(device)
        network = network.to(memory_format=choose_layout(network, device))
    num_steps = math.ceil(len(train) / config.trainer.batch_size) * config.trainer.epochs
    return TrainingContext(
        config=config,
        network=network,
        optimizer=optimizer or build_optimizer(config, network),
        schedule=LRSchedule(config.schedule, config.optimizer.lr, num_steps),
        scaler=scaler or torch.amp.GradScaler(device.type, enabled=False),
        train=train,
        val=val,
    )
