"""Measure the accuracy, loss and calibration of a network's logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NUM_BINS = 15
"""Number of bins of confidence, as in Guo et al. 2017."""


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy.

    The images are put into M = `NUM_BINS` bins B_m of confidence, ((m-1)/M, m/M]. The error is the
    sum over the bins of |B_m| / N * |accuracy(B_m) - confidence(B_m)|. Source: Guo, Pleiss, Sun and
    Weinberger 2017, "On Calibration of Modern Neural Networks", equation 3, after Naeini, Cooper
    and Hauskrecht 2015.

    Args:
        confidence: [N], the probability of the predicted class.
        right: bool [N], whether the prediction is right.
    """
    # The upper edge belongs to a bin, hence ceil. A confidence of exactly 0 goes to the first bin.
    numbers = (confidence.double() * NUM_BINS).ceil().long()  # [N], from 0 to M
    bins = numbers.clamp(1, NUM_BINS) - 1  # [N], from 0 to M - 1
    # The sum of differences in a bin is |B_m| times the difference of its two means.
    differences = right.double() - confidence.double()  # [N]
    sums = torch.zeros(NUM_BINS, dtype=torch.float64)  # [M]
    sums.index_add_(0, bins, differences)
    return float(sums.abs().sum() / len(confidence))


def measure(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, loss and calibration, and for each class its number of images and accuracy.

    Accuracies are fractions from 0 to 1; the accuracy of a class is its recall. Classes without an
    image are left out. The loss is the mean cross entropy.

    Args:
        logits: [N, classes].
        labels: int64 [N].
        classes: names, in the order of the logits.
    """
    confidence, predicted = logits.softmax(1).max(1)  # [N], [N]
    right = predicted == labels
    by_class = {}
    for label, name in enumerate(classes):
        is_of_class = labels == label
        if is_of_class.any():
            by_class[name] = {
                "num_images": int(is_of_class.sum()),
                "accuracy": right[is_of_class].double().mean().item(),
            }
    return {
        "num_images": len(labels),
        "accuracy": right.double().mean().item(),
        "loss": functional.cross_entropy(logits, labels).item(),
        "mean_confidence": confidence.double().mean().item(),
        "calibration_error": calibration_error(confidence, right),
        "classes": by_class,
    }
