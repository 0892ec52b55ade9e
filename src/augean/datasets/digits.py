"""scikit-learn's handwritten digits: real images inside the installation."""

import hashlib

import numpy as np

from augean.datasets.base import Images, Source
from augean.datasets.split import stratified_split
from augean.errors import DataError


class Digits(Source):
    """scikit-learn's 1,797 real handwritten digits (UCI, Alpaydin and Kaynak 1998), inside the
    installation.

    8x8 grey values of 0 to 16 become 16x16 pixels of RGB from 0 to 255, each value four times. A
    fixed stratified split, as the data has none of its own, gives 1,497 training and 300 test
    images.
    """

    only_size = 16
    num_test = 300
    """Test images, stratified by class."""
    content = "8497f9b6c7c34cc9c050aace804d86b0d8124703d789ff723ecc5a33ee5d3fea"
    """sha256 over the grey values and labels of both splits; checked on every load."""

    def digest(self) -> str:
        return self.content

    def load(self) -> Images:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = bunch.images.astype(np.uint8)  # [1797, 8, 8], 0 to 16
        labels = bunch.target.astype(np.int64)  # [1797]
        train, test = stratified_split(labels, num_val=self.num_test, num_train=None, seed=0)
        content = hashlib.sha256()
        for index in (train, test):
            content.update(grey[index].tobytes() + labels[index].astype("<i8").tobytes())
        if content.hexdigest() != self.content:
            raise DataError(
                "dataset=digits: this scikit-learn has other digits than the ones that Augean's"
                f" run ids stand for ({content.hexdigest()}); install scikit-learn 1.9"
            )
        brightness = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)  # of each grey value
        larger = brightness[grey].repeat(2, axis=1).repeat(2, axis=2)  # [1797, 16, 16]
        images = larger[..., None].repeat(3, axis=3)  # [1797, 16, 16, 3]
        return Images(
            train_images=images[train],
            train_labels=labels[train],
            test_images=images[test],
            test_labels=labels[test],
            classes=tuple("0123456789"),
        )
