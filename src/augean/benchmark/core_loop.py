"""Run Augean's training core as an entry of `augean bench`.

It is `augean.training.loop`, as a run uses it, on random images.
"""

from collections.abc import Iterable, Iterator

import numpy
import torch

from augean.benchmark.entry import NUM_CLASSES, Entry
from augean.datasets.base import ImageArray
from augean.training.build import TrainingContext, build_context
from augean.training.data import AnySplit, Data, HostSplit, Split
from augean.training.device import algorithms
from augean.training.loop import fit


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
        for _ in range(entry.epochs):
            with entry.epoch():
                next(results)
    entry.print_result()


def random_context(entry: Entry) -> TrainingContext:
    """Return what a run of the entry's config trains with, on random images."""
    train = random_images(entry)
    classes = tuple(str(label) for label in range(NUM_CLASSES))
    data = Data(train=train, val=None, test=train, classes=classes)
    return build_context(entry.config, data, entry.device)


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
