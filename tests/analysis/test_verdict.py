"""A verdict is data; its words are made in one place."""

import math

import pytest

from augean.analysis.verdict import (
    Difference,
    RowProgress,
    Verdict,
    is_flattered,
    verdict_of_interval,
)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, Verdict.BETTER),  # within the margin as well: that it is better says more
        (-0.2, -0.1, Verdict.WORSE),
        (-0.5, 0.5, Verdict.EQUIVALENT),
        (-0.6, 0.5, Verdict.UNDECIDED),
        (math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_an_interval_decides(low: float, high: float, verdict: Verdict) -> None:
    assert verdict_of_interval(low, high, margin=0.5) is verdict


@pytest.mark.parametrize("verdict", [Verdict.BETTER, Verdict.EQUIVALENT, Verdict.UNDECIDED])
def test_survivors_of_a_row_prove_only_that_it_is_worse(verdict: Verdict) -> None:
    assert is_flattered(verdict, row_diverged=True, baseline_diverged=False)
    assert not is_flattered(Verdict.WORSE, row_diverged=True, baseline_diverged=False)


@pytest.mark.parametrize("verdict", [Verdict.WORSE, Verdict.EQUIVALENT, Verdict.UNDECIDED])
def test_survivors_of_a_baseline_prove_only_that_a_row_is_better(verdict: Verdict) -> None:
    assert is_flattered(verdict, row_diverged=False, baseline_diverged=True)
    assert not is_flattered(Verdict.BETTER, row_diverged=False, baseline_diverged=True)


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference(), "-"),
        (Difference(verdict=Verdict.BASELINE, num_diverged=2), "baseline, 2 diverged"),
        (Difference(verdict=Verdict.BETTER, n=3), "better"),
        (Difference(verdict=Verdict.EQUIVALENT, margin=0.5), "equivalent (±0.5)"),
        (Difference(verdict=Verdict.UNDECIDED, n=3), "undecided at n=3"),
    ],
)
def test_words_of_a_comparison_with_a_fixed_number_of_seeds(
    difference: Difference, text: str
) -> None:
    assert difference.text == text


@pytest.mark.parametrize(
    ("verdict", "progress", "text"),
    [
        (Verdict.WORSE, RowProgress.SETTLED, "worse (settled at n=4)"),
        (Verdict.EQUIVALENT, RowProgress.SETTLED, "equivalent within ±1 (settled at n=4)"),
        (Verdict.UNDECIDED, RowProgress.OPEN, "undecided (not settled, n=4)"),
        (Verdict.UNDECIDED, RowProgress.EXHAUSTED, "undecided (4 seeds, the most)"),
        (Verdict.UNDECIDED, RowProgress.DIVERGED, "undecided (elu and relu diverged)"),
    ],
)
def test_words_of_a_sequential_design(verdict: Verdict, progress: RowProgress, text: str) -> None:
    difference = Difference(
        verdict=verdict, n=4, margin=1.0, progress=progress, diverged_rows=("elu", "relu")
    )
    assert difference.text == text
