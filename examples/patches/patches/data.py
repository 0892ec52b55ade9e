"""Patches of scikit-learn's two sample photographs: which photograph does a patch come from?"""

import hashlib

import numpy as np

from augean.data import Images, Source


class Patches(Source):
    """`china.jpg` and `flower.jpg` (640x427) cut into patches of `image_size` pixels; every fifth
    is for testing.
    """

    classes = ("china", "flower")

    def digest(self) -> str:
        """What the data is: the bytes of both files and the way they are cut."""
        from importlib.resources import files

        content = hashlib.sha256(f"every fifth patch of {self.image_size} pixels tests".encode())
        for name in self.classes:
            content.update((files("sklearn.datasets.images") / f"{name}.jpg").read_bytes())
        return content.hexdigest()

    def load(self) -> Images:
        from sklearn.datasets import load_sample_image

        size, images, labels = self.image_size, [], []
        for label, name in enumerate(self.classes):
            photograph = load_sample_image(f"{name}.jpg")  # uint8 [427, 640, 3]
            rows, columns = photograph.shape[0] // size, photograph.shape[1] // size
            cut = photograph[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
            images.append(cut.swapaxes(1, 2).reshape(-1, size, size, 3))
            labels.append(np.full(rows * columns, label, dtype=np.int64))
        pixels, truth = np.concatenate(images), np.concatenate(labels)
        test = np.arange(len(truth)) % 5 == 0
        return Images(pixels[~test], truth[~test], pixels[test], truth[test], self.classes)
