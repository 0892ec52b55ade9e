"""Measure how much of a difference other test images could change: an error that no seed shows.

Every run of a table is tested on the same images, so a difference has two sources of chance: seeds,
and the images that happen to be in the test set. Seeds and images are crossed as two random factors
(readers and cases in Gallas 2006, "One-shot estimate of MRMC variance"). Let p_i be the share of a
row's runs that classify image i right, and q_i that of the baseline. Then

    difference = mean over images of (p_i - q_i)
    its variance over images = (var_i(p_i - q_i) - R_p - R_q) / images

R is what few seeds add to the variance of a share. It is estimated by the mean square of the
remainder in the two-way layout, divided by the number of runs (Searle, Casella and McCulloch 1992,
"Variance Components", chapter 4).

The interval for new seeds and new images joins the interval over seeds with that over images by the
sum of squared half-widths (Zou and Donner 2008, "Construction of confidence limits about effect
measures").
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy import special

from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.analysis.simultaneous import LEVEL
from augean.analysis.verdict import Difference
from augean.store.run_files import CORRECT


@dataclass(frozen=True)
class RowImages:
    """How one row's runs do on each image of one test set."""

    shares: NDArray[numpy.float64]
    """Share p_i of the row's runs that classify the image right: float [images]."""
    remainder: float
    """R: variance of such a share that is due to the seeds at hand, seeds that are good at all
    images left out; NaN for a single run."""


def row_images(correct: NDArray[numpy.bool_]) -> RowImages:
    """Return how a row does on each image.

    Args:
        correct: bool [runs, images].
    """
    num_runs, num_images = correct.shape
    shares = correct.sum(axis=0, dtype=numpy.int64) / num_runs
    if num_runs < 2 or num_images < 2:
        return RowImages(shares=shares, remainder=math.nan)
    # Sums of squares of the two-way layout without repetition. The values are 0 or 1, so those of
    # image i lie around their mean p_i with a sum of squares of runs * p_i * (1 - p_i).
    within_images = num_runs * float((shares * (1 - shares)).sum())
    accuracies = correct.mean(axis=1)  # [runs]
    between_runs = num_images * float(((accuracies - accuracies.mean()) ** 2).sum())
    freedom = (num_runs - 1) * (num_images - 1)
    mean_square = (within_images - between_runs) / freedom
    return RowImages(shares=shares, remainder=mean_square / num_runs)


def image_variance(row: RowImages, baseline: RowImages) -> float:
    """Return the variance of the difference of two rows that the choice of images causes.

    Scores are fractions. The estimate has no bias, except where it would be negative: then it is 0.
    """
    differences = row.shares - baseline.shares  # [images]
    variance = float(differences.var(ddof=1)) - row.remainder - baseline.remainder
    return max(0.0, variance) / len(differences)


def image_half_width(row: RowImages, baseline: RowImages, num_compared: int) -> float:
    """Return the percentage points that the choice of images leaves open.

    They are half the width of Student's t-interval over images.

    Args:
        num_compared: rows that the table compares with the baseline. All of its intervals are to
            hold together with 95 %, so this one has Bonferroni's level.
    """
    level = (1 - LEVEL) / num_compared  # two-sided
    quantile = -float(special.stdtrit(len(row.shares) - 1, level / 2))
    return 100 * quantile * math.sqrt(image_variance(row, baseline))


class CorrectImages:
    """Read which test images runs classify right, the file of each run once."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        """Takes note of files that are damaged."""
        self._packed: dict[str, NDArray[numpy.uint8] | None] = {}
        """By run id, eight images a byte: uint8 [bytes]; None where a run recorded none."""

    def row(self, runs: Sequence[Run]) -> RowImages | None:
        """Return how the runs of a row do; None where one has no record of the row's test set."""
        test_sets = {_test_set(run) for run in runs}
        if len(test_sets) != 1:
            return None
        num_images = test_sets.pop()[-1]
        num_bytes = math.ceil(num_images / 8)
        packed_runs = []
        for run in runs:
            packed = self._read(run)
            if packed is None or len(packed) != num_bytes:
                return None
            packed_runs.append(packed)
        bits = numpy.unpackbits(numpy.array(packed_runs), axis=1, count=num_images)
        return row_images(bits.view(numpy.bool_))

    def _read(self, run: Run) -> NDArray[numpy.uint8] | None:
        """Return a run's bits, eight images a byte; None where it recorded none."""
        if run.id not in self._packed:
            self._packed[run.id] = self._read_file(run)
        return self._packed[run.id]

    def _read_file(self, run: Run) -> NDArray[numpy.uint8] | None:
        if run.summary is None or CORRECT not in run.summary.files:
            return None
        return self.contents.read_file(run, CORRECT, _parse_bits, "says nothing of test images")


def _parse_bits(content: bytes) -> NDArray[numpy.uint8]:
    packed: NDArray[numpy.uint8] = numpy.load(io.BytesIO(content), allow_pickle=False)
    # The digest holds for what the run wrote, which may be a stranger's run.
    if packed.dtype != numpy.uint8 or packed.ndim != 1:
        raise ValueError(f"{packed.dtype} {list(packed.shape)} in place of bytes")
    return packed


def _test_set(run: Run) -> tuple[str | None, int]:
    """Return what identifies a run's test set, its number of images last."""
    return (None, 0) if run.summary is None else run.summary.test_set


def with_images(
    differences: Mapping[str, Difference],
    baseline: str,
    runs: Mapping[str, Sequence[Run]],
    correct: CorrectImages,
) -> dict[str, Difference]:
    """Return the differences with what other test images could change.

    Differences that have no interval over seeds stay as they are, and so do those between runs that
    did not record which of the same test images they have right.

    Args:
        runs: by row, those with a score.
    """
    result = dict(differences)
    compared = [label for label, item in differences.items() if not math.isnan(item.low)]
    if not compared:
        return result
    control = correct.row(runs[baseline])
    # Without a control there is nothing to compare, so nothing more is read.
    if control is None:
        return result
    for label in compared:
        row = correct.row(runs[label])
        if row is None or not _same_test_set(runs[label], runs[baseline]):
            continue
        half = image_half_width(row, control, len(compared))
        result[label] = result[label]._replace(image_half=half, num_images=len(row.shares))
    return result


def _same_test_set(runs: Sequence[Run], others: Sequence[Run]) -> bool:
    return {_test_set(run) for run in runs} == {_test_set(run) for run in others}


def images_needed(difference: Difference, margin: float) -> int:
    """Return how many test images leave no more than `margin` points to chance, however many seeds.

    From the half-width of this difference, which falls with the root of the number of images.
    """
    return math.ceil(difference.num_images * (difference.image_half / margin) ** 2)


def remarks_on_images(differences: Mapping[str, Difference], margin: float) -> list[str]:
    """Return which verdicts hold on these images alone, and how many images the margin needs."""
    flagged = [label for label, item in differences.items() if item.on_these_images]
    if not flagged:
        return []
    with_interval = [item for item in differences.values() if not math.isnan(item.image_half)]
    widest = max(with_interval, key=lambda item: item.image_half)
    needed = images_needed(widest, margin)
    return [
        f"On these images: {', '.join(flagged)}. New seeds would give the same verdict on these"
        f" {widest.num_images:,} test images; other images might not. However many seeds, these"
        f" images leave up to ±{widest.image_half:.2f} points open; ±{margin:g} needs about"
        f" {_rounded(needed):,} test images."
    ]


def _rounded(number: int) -> int:
    """Return a number with two digits, rounded up."""
    scale: int = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / scale) * scale
