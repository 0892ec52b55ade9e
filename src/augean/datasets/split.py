"""Split training images into training and validation, in the classes' proportions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augean.errors import ConfigError


def stratified_split(
    labels: NDArray[np.int64], *, num_val: int, num_train: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split training images into training and validation, in the classes' proportions.

    Classes get their share by largest remainder (ties: the lower label), so that the totals are
    exact; a class may end up with none when there are fewer images than classes. The validation
    images do not depend on `num_train`, and smaller requests are served from the same order. It
    rests on PCG64's raw stream, which NumPy keeps unchanged across versions and platforms (NEP 19),
    and on integers.

    Args:
        labels: [N] of all training images.
        num_val: images held out, 0 to N-1.
        num_train: images for training, of the others; None takes all of them.
        seed: of the split alone.

    Returns:
        Ascending indices [num_train] and [num_val] into `labels`.

    Raises:
        ConfigError: when there are too few images.
    """
    total = len(labels)
    if not 0 <= num_val < total:
        raise ConfigError(
            f"dataset.num_val={num_val}: there are {total} training images and at least one must be"
            f" left to train on; set dataset.num_val to {max(total - 1, 0)} or less, for instance"
            f" dataset.num_val={total // 10}"
        )
    num_others = total - num_val
    if num_train is not None and not 1 <= num_train <= num_others:
        raise ConfigError(
            f"dataset.num_train={num_train}: of {total} training images dataset.num_val={num_val}"
            f" leaves {num_others}; set dataset.num_train to 1 to {num_others}, or to null for all"
            " of them"
        )
    order = np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")  # [N]
    # The images of each class, in the same random order.
    groups = [order[labels[order] == label] for label in np.unique(labels)]
    val, train = _share(groups, num_val)
    if num_train is not None:
        train, _ = _share(train, num_train)
    return _sorted_indices(train), _sorted_indices(val)


def _sorted_indices(groups: list[NDArray[Any]]) -> NDArray[np.int64]:
    return np.sort(np.concatenate(groups)).astype(np.int64)


def _share(groups: list[NDArray[Any]], count: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Divide groups into their first members, `count` in all, and the others.

    Each group gives in proportion to its size.
    """
    sizes = np.array([len(group) for group in groups], dtype=np.int64)  # [groups]
    numbers, remainders = np.divmod(count * sizes, sizes.sum())
    # What rounding down leaves goes to the largest remainders.
    num_missing = count - numbers.sum()
    numbers[np.argsort(-remainders, kind="stable")[:num_missing]] += 1
    first = [group[:number] for group, number in zip(groups, numbers, strict=True)]
    others = [group[number:] for group, number in zip(groups, numbers, strict=True)]
    return first, others
