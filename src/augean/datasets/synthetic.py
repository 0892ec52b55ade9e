"""Generate a data set of images, for tests and timing."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augean.datasets.base import Images, Source
from augean.errors import ConfigError


class Synthetic(Source):
    """Generated images for tests and timing.

    Each class is a smooth coloured pattern, to which each image adds uniform noise. All arithmetic
    is on integers, so that the pixels are the same on every machine.

    Args:
        num_train_images: number of training images, divided among the classes as evenly as
            possible.
        num_test_images: number of test images, divided in the same way.
        num_classes: at least 2.
        noise: largest deviation of a pixel value from the pattern, as a share of 255. With the
            default a network learns the classes easily.
        generator_seed: seed of patterns, labels and noise.

    Raises:
        ConfigError: for arguments of the wrong type or out of range.
    """

    version = 1
    """Part of the digest. It is raised when the same arguments give other pixels."""

    def __init__(
        self,
        *,
        name: str,
        root: Path,
        cache: Path,
        image_size: int = 32,
        num_train_images: int = 5000,
        num_test_images: int = 1000,
        num_classes: int = 10,
        noise: float = 0.4,
        generator_seed: int = 0,
    ) -> None:
        super().__init__(name=name, root=root, cache=cache, image_size=image_size)
        _check_whole("num_train_images", num_train_images, low=1)
        _check_whole("num_test_images", num_test_images, low=1)
        _check_whole("num_classes", num_classes, low=2)
        _check_whole("generator_seed", generator_seed, low=0)
        # By `type`, as a bool is an int for `isinstance`.
        if type(noise) not in (int, float) or not 0 <= noise <= 1:
            raise ConfigError(f"dataset.arguments.noise={noise}: must be a number from 0 to 1")
        self.num_train_images = num_train_images
        self.num_test_images = num_test_images
        self.num_classes = num_classes
        self.generator_seed = generator_seed
        self.largest_noise = round(noise * 255)

    def digest(self) -> str:
        parts = [
            "synthetic",
            f"v{self.version}",
            self.image_size,
            self.num_train_images,
            self.num_test_images,
            self.num_classes,
            self.generator_seed,
            self.largest_noise,
        ]
        return "-".join(map(str, parts))

    def count_train_images(self) -> int:
        return self.num_train_images

    def load(self) -> Images:
        # All draws come from one generator, so their order decides the data: patterns, training
        # images, test images.
        generator = np.random.Generator(np.random.PCG64(self.generator_seed))
        patterns = self._draw_patterns(generator)
        train_images, train_labels = self._draw_split(generator, patterns, self.num_train_images)
        test_images, test_labels = self._draw_split(generator, patterns, self.num_test_images)
        return Images(
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            classes=tuple(f"class_{label}" for label in range(self.num_classes)),
        )

    def _draw_patterns(self, generator: np.random.Generator) -> NDArray[np.int16]:
        """Draw the pattern of each class: [num_classes, image_size, image_size, 3].

        Random colours at 4x4 points, spread evenly over the image, are interpolated linearly. Let
        steps = image_size - 1. In row r of the image, row j of the points has the weight
        max(0, 1 - |3 r / steps - j|); columns likewise. To stay with integers, all weights are
        multiplied by `steps`.
        """
        steps = self.image_size - 1
        rows = np.arange(self.image_size)[:, None]  # [image_size, 1]
        distances = np.abs(3 * rows - steps * np.arange(4))  # [image_size, 4]
        weights = np.maximum(steps - distances, 0)  # [image_size, 4]
        points = generator.integers(64, 192, (self.num_classes, 4, 4, 3))
        # r, s: row and column of the image; i, j: of the points; k: class; c: colour.
        sums = np.einsum("ri,sj,kijc->krsc", weights, weights, points)
        # Rows and columns have both been weighted, hence the square.
        patterns: NDArray[np.int16] = (sums // steps**2).astype(np.int16)
        return patterns

    def _draw_split(
        self, generator: np.random.Generator, patterns: NDArray[np.int16], count: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Draw images [count, image_size, image_size, 3] and labels [count]."""
        # 0, 1, ..., 0, 1, ...: classes of equal size but for one image, then in random order.
        labels = generator.permutation(np.arange(count, dtype=np.int64) % self.num_classes)
        # A copy, as `labels` is an array. int16 holds a pattern with its noise, from -255 to 510.
        images = patterns[labels]
        noise = self.largest_noise
        images += generator.integers(-noise, noise, images.shape, dtype=np.int16, endpoint=True)
        return images.clip(0, 255).astype(np.uint8), labels


def _check_whole(name: str, value: object, *, low: int) -> None:
    # By `type`, as a bool is an int for `isinstance`.
    if type(value) is not int or value < low:
        raise ConfigError(
            f"dataset.arguments.{name}={value}: must be a whole number of at least {low}"
        )
