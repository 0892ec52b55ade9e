"""Generated images, for tests and timing."""

from pathlib import Path

import numpy as np

from augean.datasets.base import Images, Source
from augean.errors import ConfigError


class Synthetic(Source):
    """Generated images for tests and timing: a smooth coloured pattern per class under uniform
    noise.

    All arithmetic is on integers, so that the pixels are the same everywhere.

    Args:
        num_train_images: training images, as evenly divided among the classes as they can be.
        num_test_images: test images, divided likewise.
        num_classes: at least 2.
        noise: largest deviation of a value from its pattern, as a share of the range 0 to 255.
            Classes are told apart easily at the default.
        generator_seed: of patterns, labels and noise.

    Raises:
        ConfigError: for arguments of the wrong type or out of range.
    """

    version = 1

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
        numbers = (num_train_images, num_test_images, num_classes, generator_seed)
        names = ("num_train_images", "num_test_images", "num_classes", "generator_seed")
        for key, value, low in zip(names, numbers, (1, 1, 2, 0), strict=True):
            if type(value) is not int or value < low:
                raise ConfigError(
                    f"dataset.arguments.{key}={value}: must be a whole number of at least {low}"
                )
        if type(noise) not in (int, float) or not 0 <= noise <= 1:
            raise ConfigError(f"dataset.arguments.noise={noise}: must be a number from 0 to 1")
        self.numbers = (*numbers, round(noise * 255))

    def digest(self) -> str:
        return "-".join(
            str(part) for part in ("synthetic", f"v{self.version}", self.image_size, *self.numbers)
        )

    def load(self) -> Images:
        num_train, num_test, num_classes, seed, noise = self.numbers
        generator = np.random.Generator(np.random.PCG64(seed))
        # Colours at 4x4 points, interpolated linearly: point j has weight max(0, 1 - |3 r / steps -
        # j|) in row r.
        steps = self.image_size - 1
        distances = np.abs(3 * np.arange(self.image_size)[:, None] - steps * np.arange(4))
        weights = np.maximum(steps - distances, 0)  # [image_size, 4], times steps
        points = generator.integers(64, 192, (num_classes, 4, 4, 3))
        patterns = (np.einsum("ri,sj,kijc->krsc", weights, weights, points) // steps**2).astype(
            np.int16
        )
        arrays = []
        for count in (num_train, num_test):
            labels = generator.permutation(np.arange(count, dtype=np.int64) % num_classes)
            images = patterns[labels]  # [count, image_size, image_size, 3]
            images += generator.integers(-noise, noise, images.shape, dtype=np.int16, endpoint=True)
            arrays.append((images.clip(0, 255).astype(np.uint8), labels))
        return Images(
            *arrays[0], *arrays[1], tuple(f"class_{label}" for label in range(num_classes))
        )
