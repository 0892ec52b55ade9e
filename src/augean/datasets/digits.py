"""Load scikit-learn's handwritten digits: real images that come with its installation."""

import hashlib

import numpy as np

from augean.datasets.base import Images, Source
from augean.datasets.split import stratified_split
from augean.errors import DataError


class Digits(Source):
    """The 1,797 real handwritten digits that come with scikit-learn.

    Source: UCI, Alpaydin and Kaynak 1998. Images of 8x8 grey values from 0 to 16 become 16x16 RGB
    pixels from 0 to 255: each grey value fills 2x2 pixels. The data has no split of its own; a
    fixed stratified one gives 1,497 training and 300 test images.
    """

    only_size = 16
    num_test = 300
    """Test images, stratified by class."""
    num_train = 1497
    """All other images."""
    content = "8497f9b6c7c34cc9c050aace804d86b0d8124703d789ff723ecc5a33ee5d3fea"
    """sha256 of the grey values and labels, training before test; checked on every load."""

    def digest(self) -> str:
        return self.content

    def count_train_images(self) -> int:
        return self.num_train

    def load(self) -> Images:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = bunch.images.astype(np.uint8)  # [1797, 8, 8], 0 to 16
        labels = bunch.target.astype(np.int64)  # [1797]
        train, test = stratified_split(labels, num_val=self.num_test, num_train=None, seed=0)
        checksum = hashlib.sha256()
        for index in (train, test):
            checksum.update(grey[index].tobytes())
            # Little-endian, so that all machines hash the same bytes.
            checksum.update(labels[index].astype("<i8").tobytes())
        digest = checksum.hexdigest()
        if digest != self.content:
            raise DataError(
                "dataset=digits: this scikit-learn has other digits than the ones that Augean's"
                f" run ids stand for ({digest}); install scikit-learn 1.9"
            )
        # [17]: the pixel value of each grey value
        brightness = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)
        larger = brightness[grey].repeat(2, axis=1).repeat(2, axis=2)  # [1797, 16, 16]
        images = larger[..., None].repeat(3, axis=3)  # [1797, 16, 16, 3]
        return Images(
            train_images=images[train],
            train_labels=labels[train],
            test_images=images[test],
            test_labels=labels[test],
            classes=tuple("0123456789"),
        )
