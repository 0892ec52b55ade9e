"""Split training images into training and validation, in the classes' proportions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augean.errors import ConfigError


def stratified_split(
    labels: NDArray[np.int64], *, num_val: int, num_train: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold images out for validation, and keep some or all of the rest for training, in the
    classes' proportions.

    Classes get their share by largest remainder (ties: the lower label), so that the totals are
    exact; a class may end up with none when there are fewer images than classes. The validation
    images do not depend on `num_train`, and smaller requests are served from the same order. It
    rests on PCG64's raw stream, which NumPy keeps unchanged across versions and platforms (NEP 19),
    and on integers.

    Args:
        labels: [N] of all training images.
        num_val: images held out, 0 to N-1.
        num_train: images kept of the remainder; None keeps all.
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
    left = total - num_val
    if num_train is not None and not 1 <= num_train <= left:
        raise ConfigError(
            f"dataset.num_train={num_train}: of {total} training images dataset.num_val={num_val}"
            f" leaves {left}; set dataset.num_train to 1 to {left}, or to null for all of them"
        )
    order = np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")
    groups = [order[labels[order] == label] for label in np.unique(labels)]
    val, rest = _share(groups, num_val)
    train = rest if num_train is None else _share(rest, num_train)[0]
    return np.sort(np.concatenate(train)).astype(np.int64), np.sort(np.concatenate(val)).astype(
        np.int64
    )


def _share(groups: list[NDArray[Any]], count: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """The first `count` members of the groups, in proportion to their sizes, and what is left of
    each.
    """
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    taken, remainder = np.divmod(count * sizes, sizes.sum())
    taken[np.argsort(-remainder, kind="stable")[: count - taken.sum()]] += 1
    pairs = list(zip(groups, taken, strict=True))
    return [group[:number] for group, number in pairs], [group[number:] for group, number in pairs]
