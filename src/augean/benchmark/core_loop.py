"""Run Augean's training core as an entry of `augean bench`.

It is `augean.training.loop`, as a run uses it, on random images.
"""

import math
from collections.abc import Iterable, Iterator

import numpy
import torch

from augean.benchmark.entry import NUM_CLASSES, Entry
from augean.datasets.base import ImageArray
from augean.training.build import TrainingContext
from augean.training.data import AnySplit, HostSplit, Split
from augean.training.device import algorithms, choose_layout
from augean.training.loop import fit
from augean.training.lr_schedule import LRSchedule
from augean.training.optimizer import build_optimizer


def main() -> None:
    entry = Entry.from_command_line()
    config = entry.config
    config.trainer.epochs = entry.epochs  # the benchmark's number, not that of the config
    context = random_context(entry)

    # Stands in for the progress bar of a run: it sees the end of each step.
    def track(steps: Iterable[int]) -> Iterator[int]:
        for step in steps:
            yield step
            entry.end_step()

    with algorithms(config.trainer.deterministic):
        # `fit` is a generator: each `next` trains one epoch, which the entry times.
        results = fit(context, track=track)
        while len(entry.epoch_seconds) < entry.epochs:
            with entry.epoch():
                next(results)
    entry.print_result()


def random_context(entry: Entry) -> TrainingContext:
    """Return what a run of the entry's config trains with, on random images."""
    config = entry.config
    train = random_images(entry)
    network = entry.build_network()
    network = network.to(memory_format=choose_layout(network, entry.device))
    num_steps = math.ceil(entry.images / config.trainer.batch_size) * entry.epochs
    return TrainingContext(
        config=config,
        network=network,
        optimizer=build_optimizer(config, network),
        schedule=LRSchedule(config.schedule, config.optimizer.lr, num_steps),
        scaler=torch.amp.GradScaler(entry.device.type, enabled=config.trainer.precision == "fp16"),
        train=train,
        val=None,
    )


def random_images(entry: Entry) -> AnySplit:
    """Return the images of one epoch, uint8 [N, H, W, 3], with labels [N].

    They are on the device unless `runtime.data_on` is host.
    """
    size = entry.config.dataset.image_size
    shape = (entry.images, size, size, 3)
    labels = torch.randint(0, NUM_CLASSES, (entry.images,), device=entry.device)
    if entry.config.runtime.data_on == "host":
        generator = numpy.random.default_rng(0)
        pixels = generator.integers(0, 256, shape, dtype=numpy.uint8)
        return HostSplit(ImageArray(pixels, numpy.arange(entry.images)), labels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=entry.device)
    return Split(images, labels)


if __name__ == "__main__":
    main()
