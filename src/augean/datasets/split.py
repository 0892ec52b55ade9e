"""Split training images into training and validation, in the same way on every machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augean.errors import ConfigError
from augean.terminal import counted


def stratified_split(
    labels: NDArray[np.int64], *, num_val: int, num_train: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split training images into training and validation, in the classes' proportions.

    The totals are exact: each class gets its share rounded down, and the images that are then
    missing come from the classes with the largest remainders (of equal ones, the lower label). With
    fewer images than classes some classes get none.

    Each class gives its images in one random order, the first ones for validation and the next ones
    for training. So the validation images do not depend on `num_train`.

    The split is the same on every machine: it uses only integers and the raw stream of PCG64, which
    NumPy keeps unchanged across versions and platforms (NEP 19).

    Args:
        labels: [N] of all training images.
        num_val: number of validation images, 0 to N-1.
        num_train: number of training images, at most N - num_val; None takes all of these.
        seed: of the split only; the seed of the run plays no part.

    Returns:
        Ascending indices [num_train] and [num_val] into `labels`.

    Raises:
        ConfigError: when there are too few images.
    """
    total = len(labels)
    check_sizes(total, num_val=num_val, num_train=num_train)
    # A random order of all images: sorting by random numbers. Not `Generator.permutation`, whose
    # algorithm NumPy may change.
    random_numbers = np.random.PCG64(seed).random_raw(total)
    order = np.argsort(random_numbers, kind="stable")  # [N]
    # For each class the indices of its images, in this order.
    groups = [order[labels[order] == label] for label in np.unique(labels)]
    # Validation is served first, so that it does not depend on `num_train`.
    val, train = _share(groups, num_val)
    if num_train is not None:
        train, _ = _share(train, num_train)
    return _sorted_indices(train), _sorted_indices(val)


def check_sizes(total: int, *, num_val: int, num_train: int | None) -> int:
    """Return the number of images that are trained on.

    Args:
        total: number of training images, those for validation among them.
        num_val, num_train: as for `stratified_split`.

    Raises:
        ConfigError: when there are too few images.
    """
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
    return num_others if num_train is None else num_train


def check_last_batch(batch_size: int, num_images: int) -> None:
    """Refuse a last batch of one image: batch norm needs the variance of several.

    Raises:
        ConfigError: when one image is left over.
    """
    if num_images % batch_size == 1:
        fix = "choose another size, or leave one image out with"
        fix += f" dataset.num_train={num_images - 1}"
        if num_images == 1:
            fix = "train on at least two with dataset.num_train or a smaller dataset.num_val"
        images = counted(num_images, "training image")
        raise ConfigError(
            f"trainer.batch_size={batch_size}: the last batch of {images} has one, which batch norm"
            f" cannot use; {fix}"
        )


def _sorted_indices(groups: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Join the indices of all classes in ascending order."""
    return np.sort(np.concatenate(groups)).astype(np.int64)


def _share(groups: list[NDArray[Any]], count: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Divide each group into its first members and the others.

    The first members are `count` in all; each group gives in proportion to its size.

    Returns:
        For each group its first members, and for each group the others.
    """
    sizes = np.array([len(group) for group in groups], dtype=np.int64)  # [G]
    # Integer division, as rounding of floats could differ between machines.
    numbers, remainders = np.divmod(count * sizes, sizes.sum())  # [G], [G]
    # The members that are missing after rounding down: one more from the largest remainders. The
    # sort is stable, so of equal remainders the lower label comes first.
    num_missing = count - numbers.sum()
    by_remainder = np.argsort(-remainders, kind="stable")
    numbers[by_remainder[:num_missing]] += 1
    first = [group[:number] for group, number in zip(groups, numbers, strict=True)]
    others = [group[number:] for group, number in zip(groups, numbers, strict=True)]
    return first, others
