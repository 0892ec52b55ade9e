"""Measure how good and how well calibrated a network's scores are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NUM_BINS = 15


def calibration_error(confidence: Tensor, right: Tensor, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy.

    Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", equation 3,
    after Naeini, Cooper and Hauskrecht 2015: the sum over bins ((m-1)/M, m/M] of |B_m| / n *
    |accuracy(B_m) - confidence(B_m)|.

    Args:
        confidence: [N], the probability of the predicted class.
        right: bool [N], whether the prediction is right.
        num_bins: M, bins of equal width.
    """
    # Bins are closed above, hence ceil; a confidence of exactly 0 belongs to the first.
    bins = (confidence.double() * num_bins).ceil().long().clamp(1, num_bins) - 1  # [N]
    gaps = torch.zeros(num_bins, dtype=torch.float64)
    gaps.index_add_(0, bins, right.double() - confidence.double())
    # A bin's sum of differences is |B_m| times the difference of its means.
    return float(gaps.abs().sum() / len(confidence))


def measure(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, loss, calibration and, per class, number of images and accuracy.

    Accuracies are fractions; that of a class is its recall. Classes without an image are left out.

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
