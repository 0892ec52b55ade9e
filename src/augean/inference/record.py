"""Add measures of the test set to finished runs that did not record them."""

from dataclasses import replace

import numpy
import torch
from numpy.typing import NDArray

from augean.errors import AugeanError
from augean.inference.load import TrainedModel
from augean.store.archive.members import check_run
from augean.store.run_files import CORRECT
from augean.store.summary import RunSummary, write_summary
from augean.training.artifacts import write_correct
from augean.training.data import Split
from augean.training.device import exact_fp32
from augean.training.loop import evaluate_final


def record_test(
    model: TrainedModel, images: NDArray[numpy.uint8], labels: NDArray[numpy.int64]
) -> RunSummary:
    """Test a run's network again, and add correct.npy and its dead units to the run's directory.

    Nothing that the run has recorded itself is changed.

    Args:
        images: the run's own test set, uint8 [N, H, W, 3].
        labels: int64 [N].

    Returns:
        The run's new summary; the old one where nothing was missing.

    Raises:
        AugeanError: when a file of the run is damaged; or when the number of right images differs
            from the run's own, so that these answers do not belong to the recorded accuracy.
    """
    summary = model.summary
    if CORRECT in summary.files and summary.dead_units is not None:
        return summary
    if CORRECT not in summary.files:
        # A file without a digest in the summary was left by a call that was killed.
        (model.path / CORRECT).unlink(missing_ok=True)
    # Before the summary is written anew: its digests must be those of undamaged files.
    check_run(model.path)
    images_on_device = torch.from_numpy(images).to(model.device)
    labels_on_device = torch.from_numpy(labels).to(model.device)
    split = Split(images_on_device, labels_on_device)
    with exact_fp32():
        score = evaluate_final(model.network, split, model.config)
    # The summary holds a fraction of the images; rounded, it gives their number back.
    num_right = int(score.correct.sum())
    recorded_num_right = round((summary.test_accuracy or 0.0) * len(split))
    if num_right != recorded_num_right:
        raise AugeanError(
            f"{model.path}: {num_right} of {len(split)} test images are right here, the run had"
            f" {recorded_num_right}: not recorded; another processor or precision rounds"
            " differently, so record it on the kind of machine that trained it"
        )
    if CORRECT not in summary.files:
        write_correct(model.path, score.correct)
    if summary.dead_units is None:
        summary = replace(summary, dead_units=score.dead_units)
    return write_summary(model.path, summary)
