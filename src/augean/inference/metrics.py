"""Measure how good and how well calibrated a network's scores are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NUM_BINS = 15


def calibration_error(confidence: Tensor, right: Tensor, num_bins: int = NUM_BINS) -> float:
    """Expected calibration error: over bins of equal width, the mean gap between confidence and
    accuracy.

    Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", equation 3,
    after Naeini, Cooper and Hauskrecht 2015: the sum over bins ((m-1)/M, m/M] of |B_m| / n *
    |accuracy(B_m) - confidence(B_m)|.

    Args:
        confidence: [N], the probability of the predicted class.
        right: bool [N], whether the prediction is right.
    """
    bins = (confidence.double() * num_bins).ceil().long().clamp(1, num_bins) - 1
    gaps = torch.zeros(num_bins, dtype=torch.float64).index_add_(
        0, bins, right.double() - confidence.double()
    )
    return float(gaps.abs().sum() / len(confidence))


def measure(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, loss, calibration and, per class that occurs, the number of images and its accuracy
    (recall).

    Args:
        logits: [N, classes].
        labels: int64 [N].
    """
    confidence, predicted = logits.softmax(1).max(1)
    right = predicted == labels
    return {
        "num_images": len(labels),
        "accuracy": right.double().mean().item(),
        "loss": functional.cross_entropy(logits, labels).item(),
        "mean_confidence": confidence.double().mean().item(),
        "calibration_error": calibration_error(confidence, right),
        "classes": {
            name: {"num_images": int(own.sum()), "accuracy": right[own].double().mean().item()}
            for name, own in ((name, labels == label) for label, name in enumerate(classes))
            if own.any()
        },
    }
