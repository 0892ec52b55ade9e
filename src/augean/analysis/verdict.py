"""Define what the comparison of a row with its baseline says: as data, and in words for tables."""

import math
from enum import StrEnum
from typing import NamedTuple

MARGIN = 0.5
"""Percentage points: differences within this margin are called equivalent."""


class Verdict(StrEnum):
    """What may be said of a row beside its baseline."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    BASELINE = "baseline"
    """The row is the baseline itself."""
    NOT_COMPARED = "-"
    """The table has no baseline, or one of the two rows has no score."""


DECIDED = (Verdict.BETTER, Verdict.WORSE, Verdict.EQUIVALENT)
"""What more seeds would not change."""


class RowProgress(StrEnum):
    """How far a sequential design has come with a row."""

    SETTLED = "settled"
    OPEN = "open"
    """Undecided, and more seeds may settle it."""
    EXHAUSTED = "exhausted"
    """Undecided with the most seeds that the design allows."""
    DIVERGED = "diverged"
    """Undecided for good, as a run of the row or of the baseline diverged."""


class Difference(NamedTuple):
    """A row minus the baseline, in percentage points, and what that says."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Bounds of the simultaneous 95 % interval."""
    p: float = math.nan
    """Adjusted for the number of rows compared."""
    verdict: Verdict = Verdict.NOT_COMPARED
    n: int = 0
    """Seeds compared: the smaller of the two rows' numbers."""
    num_diverged: int = 0
    """Diverged runs of the row. A sequential design names `diverged_rows` instead."""
    margin: float = math.nan
    """Percentage points: what lies within it is equivalent."""
    progress: RowProgress | None = None
    """None where the number of seeds was fixed before the first run."""
    diverged_rows: tuple[str, ...] = ()
    """In a sequential design: the row, the baseline or both, where they have diverged runs."""
    image_half: float = math.nan
    """Percentage points that the choice of test images leaves open, however many seeds there are:
    the half-width of a simultaneous 95 % interval. NaN where runs did not record their images."""
    num_images: int = 0
    """Test images that both rows were tested on, where they recorded them."""

    @property
    def half_width(self) -> float:
        """Half-width of the simultaneous interval."""
        return (self.high - self.low) / 2

    @property
    def images_low(self) -> float:
        """Lower bound of the interval for new seeds and new test images."""
        # Both sources of chance are independent, so the squares of their half-widths add up.
        return self.value - math.hypot(self.value - self.low, self.image_half)

    @property
    def images_high(self) -> float:
        """Upper bound of the interval for new seeds and new test images."""
        return self.value + math.hypot(self.high - self.value, self.image_half)

    @property
    def on_these_images(self) -> bool:
        """Whether the seeds decide, and other test images might decide otherwise."""
        if self.verdict not in DECIDED or math.isnan(self.image_half):
            return False
        # The same rule as for seeds, applied to the wider interval.
        return verdict_of_interval(self.images_low, self.images_high, self.margin) != self.verdict

    @property
    def text(self) -> str:
        """The verdict in words, such as "undecided at n=3, 1 diverged"."""
        words = self._text_over_seeds()
        if self.on_these_images:
            words += ", on these images"
        return words

    def _text_over_seeds(self) -> str:
        if self.progress is not None:
            return self._sequential_text(self.progress)
        words = str(self.verdict)
        if self.verdict is Verdict.EQUIVALENT:
            words = f"equivalent (±{self.margin:g})"
        elif self.verdict is Verdict.UNDECIDED:
            words = f"undecided at n={self.n}"
        if self.num_diverged:
            words += f", {self.num_diverged} diverged"
        return words

    def _sequential_text(self, progress: RowProgress) -> str:
        words = str(self.verdict)
        if self.verdict is Verdict.EQUIVALENT:
            words = f"equivalent within ±{self.margin:g}"
        reasons = {
            RowProgress.SETTLED: f"settled at n={self.n}",
            RowProgress.OPEN: f"not settled, n={self.n}",
            RowProgress.EXHAUSTED: f"{self.n} seeds, the most",
            RowProgress.DIVERGED: f"{' and '.join(self.diverged_rows)} diverged",
        }
        return f"{words} ({reasons[progress]})"


def verdict_of_interval(low: float, high: float, margin: float) -> Verdict:
    """Return what an interval of a difference says; one with NaN bounds leaves it undecided."""
    if low > 0:
        return Verdict.BETTER
    if high < 0:
        return Verdict.WORSE
    if -margin <= low and high <= margin:
        return Verdict.EQUIVALENT
    return Verdict.UNDECIDED


def is_flattered(verdict: Verdict, *, row_diverged: bool, baseline_diverged: bool) -> bool:
    """Tell whether diverged runs make the verdict unfair.

    The scores of a row with diverged runs are those of the survivors, which flatter it. So such a
    row is never better or equivalent, and no row is worse than, or equivalent to, such a baseline.
    """
    row_flattered = row_diverged and verdict is not Verdict.WORSE
    baseline_flattered = baseline_diverged and verdict is not Verdict.BETTER
    return row_flattered or baseline_flattered
