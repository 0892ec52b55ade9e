"""Find copies of an image where they spoil a result: in training and test, or in two classes.

A copy has the same bytes. The same photograph saved twice, or in two sizes, is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augean.terminal import counted


@dataclass(frozen=True)
class Copies:
    """Images that are in two places of a folder."""

    number: int
    """Different images, however many copies there are of each."""
    example: tuple[str, str]
    """Paths of two copies, in different places."""

    def __str__(self) -> str:
        """Return text for a message, to which the places are added."""
        return f"{counted(self.number, 'image')} ({self.example[0]} = {self.example[1]})"


def copies_in_both_parts(
    hashes: NDArray[np.uint64], paths: Sequence[str], num_train: int
) -> Copies | None:
    """Find the images that are in both `train` and `test`; None where there are none.

    Args:
        hashes: [N], equal where two files have the same content.
        paths: [N], those of `train` first.
        num_train: number of paths in `train`.
    """
    common, train, test = np.intersect1d(
        hashes[:num_train], hashes[num_train:], return_indices=True
    )
    if len(common) == 0:
        return None
    first = train.argmin()
    example = paths[train[first]], paths[num_train + test[first]]
    return Copies(number=len(common), example=example)


def copies_in_two_classes(
    hashes: NDArray[np.uint64], paths: Sequence[str], labels: NDArray[np.int64]
) -> Copies | None:
    """Find the images that are in more than one class; None where there are none.

    Args:
        hashes: [N], equal where two files have the same content.
        paths: [N]
        labels: [N], the class of each path.
    """
    # All copies of an image are neighbours in this order. Where they have two labels, so have two
    # neighbours among them.
    order = np.argsort(hashes, kind="stable")
    left, right = order[:-1], order[1:]
    is_mislabelled = (hashes[left] == hashes[right]) & (labels[left] != labels[right])
    left, right = left[is_mislabelled], right[is_mislabelled]
    if len(left) == 0:
        return None
    first = left.argmin()
    number = len(np.unique(hashes[left]))
    return Copies(number=number, example=(paths[left[first]], paths[right[first]]))
