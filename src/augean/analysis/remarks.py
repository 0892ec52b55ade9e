"""Say what a reader must know before trusting a table, such as how often one like it is wrong.

The shares of tables with a false verdict were measured by benchmarks/verdict_errors.py on tables
whose rows are all equal. They are said where no method that we know holds the promised 5 %.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy

from augean.analysis.sequential_design import CROWDED, is_crowded
from augean.config.schema import LENGTH_FREE_SCHEDULES
from augean.terminal import counted

FEW_SEEDS = 5
FEW_TEXT = "Measured with 3 seeds on real scores: 95 % intervals cover 87 to 96 %"
"""Said below that number. From tests/analysis/test_comparison.py."""
FEW_VERDICTS_TEXT = ", and 2 to 7 % of tables have a false verdict"
"""Said beside it of tables with verdicts."""
SCATTERED = 10.0
SCATTERED_TEXT = (
    "Where seeds collapse, the mean describes none of them, and with few seeds its interval is too"
    " narrow."
)
"""Said of rows whose scores have a wider range, in percentage points."""
CROWDED_TEXT = "a bad seed would lie far below it, and few seeds may have missed one"
"""Said of rows whose mean is so close to 100 %."""
SKEWED_SHARES = {
    3: {1: 0.21, 3: 0.31, 6: 0.32, 12: 0.31, 20: 0.26},
    5: {1: 0.18, 3: 0.35, 6: 0.50, 12: 0.65, 20: 0.78},
    10: {1: 0.13, 3: 0.26, 6: 0.40, 12: 0.55, 20: 0.69},
    20: {1: 0.11, 3: 0.20, 6: 0.28, 12: 0.41, 20: 0.53},
}
"""Share of tables with a false verdict, by seeds a row, then rows beside the baseline. The rows
crowd below 100 % (Beta(20, 0.4), mean 98 %), the baseline is steady."""
TWO_SEEDS_SHARES = {1: 0.13, 3: 0.23, 6: 0.31, 12: 0.43, 20: 0.49}
"""The same by rows beside the baseline: two seeds a row, normal scores, the worst ratio of
deviations up to ten."""
COLLAPSE_SHARES = {
    3: {1: 0.34, 3: 0.70, 6: 0.89, 12: 0.95, 20: 0.95},
    5: {1: 0.13, 3: 0.36, 6: 0.59, 12: 0.84, 20: 0.95},
    10: {1: 0.10, 3: 0.06, 6: 0.12, 12: 0.20, 20: 0.30},
    20: {1: 0.07, 3: 0.06, 6: 0.10, 12: 0.16, 20: 0.11},
}
"""The same by seeds and rows: a third of each row's seeds lies 40 points lower, the baseline is
steady and has the same mean. A row without a collapse so far looks better than it is."""
SETTLED_COLLAPSE_SHARES = {
    3: {1: 0.31, 3: 0.59, 6: 0.78, 12: 0.92, 20: 0.97},
    5: {1: 0.17, 3: 0.40, 6: 0.61, 12: 0.85, 20: 0.94},
    10: {1: 0.07, 3: 0.14, 6: 0.18, 12: 0.28, 20: 0.38},
}
"""The same of a sequential design, by the seeds of its first look, with 20 seeds at most."""


def measured_share(
    table: Mapping[int, Mapping[int, float]], n: int, num_rows: int
) -> tuple[int, float]:
    """Return (seeds, share) of the measurement that stands for n seeds and so many rows.

    Between two measured numbers it is that of the fewer seeds and the more rows.
    """
    measured = [candidate for candidate in table if candidate <= n]
    seeds = max(measured, default=min(table))
    return seeds, _nearest_above(table[seeds], num_rows)


def _nearest_above(table: Mapping[int, float], key: int) -> float:
    """Return the entry of the smallest measured key from `key` on, or else of the largest."""
    measured = [candidate for candidate in table if candidate >= key]
    return table[min(measured, default=max(table))]


def remarks_on_scores(
    scores: Mapping[str, Sequence[float]],
    *,
    least: int | None,
    is_compared: bool,
    assumes_equal: bool,
) -> list[str]:
    """Return what is odd about the scores, and how often a table like this one is wrong.

    Args:
        scores: of each row with several seeds, in percent.
        least: seeds at the first look of a sequential design; None where their number was fixed.
        is_compared: the table has verdicts, which may be false.
        assumes_equal: the comparison takes deviations as equal without a test of it.
    """
    is_settled = least is not None
    remarks = _remarks_on_spread(scores)
    if is_compared:
        remarks += _remarks_on_collapse(scores, least)
    remarks += _remarks_on_crowding(scores, is_settled=is_settled, is_compared=is_compared)
    # A sequential design has its own promise for few seeds.
    if not is_settled:
        remarks += _remarks_on_few_seeds(
            scores, is_compared=is_compared, assumes_equal=assumes_equal
        )
    return remarks


def _is_scattered(values: Sequence[float]) -> bool:
    return max(values) - min(values) > SCATTERED


def _remarks_on_spread(scores: Mapping[str, Sequence[float]]) -> list[str]:
    """Return which rows have no spread, and which have much."""
    flat_rows = []
    scattered_rows = []
    for label, values in scores.items():
        low = min(values)
        high = max(values)
        if low == high:
            flat_rows.append(quote_label(label))
        if _is_scattered(values):
            scattered_rows.append(f"{quote_label(label)} ({low:.1f} to {high:.1f})")
    remarks = []
    if flat_rows:
        names = ", ".join(flat_rows)
        remarks.append(f"All seeds gave one and the same score, so there is no interval: {names}.")
    if scattered_rows:
        remarks.append(f"Seeds lie far apart: {', '.join(scattered_rows)}. {SCATTERED_TEXT}")
    return remarks


def quote_label(label: str) -> str:
    """Return a label as it stands in a list: in quotes where it has a comma itself."""
    return f"“{label}”" if "," in label else label


def _remarks_on_collapse(scores: Mapping[str, Sequence[float]], least: int | None) -> list[str]:
    """Return what seeds that collapse in one row mean for rows in which none has collapsed yet.

    Args:
        least: as of `remarks_on_scores`.
    """
    num_rows = _num_compared(scores)
    num_scattered = sum(_is_scattered(values) for values in scores.values())
    # A row whose own seeds lie far apart has a wide interval: it is not the one that deceives.
    if num_rows < 2 or not 0 < num_scattered < len(scores):
        return []
    if least is None:
        n, share = measured_share(COLLAPSE_SHARES, _fewest_seeds(scores), num_rows)
        seeds = f"n={n}"
    else:
        n, share = measured_share(SETTLED_COLLAPSE_SHARES, least, num_rows)
        seeds = f"first look at {n} seeds"
    return [
        "If seeds can collapse in every row, those that have not yet look better than they are: of"
        " simulated tables in which a third of each row's seeds collapses and the baseline is"
        f" steady ({seeds}, {counted(num_rows, 'row')} or about as many) {100 * share:.0f} % had a"
        " false verdict."
    ]


def _remarks_on_crowding(
    scores: Mapping[str, Sequence[float]], *, is_settled: bool, is_compared: bool
) -> list[str]:
    """Return which rows crowd below 100 %, and what that does to verdicts."""
    crowded_rows = []
    for label, values in scores.items():
        array = numpy.array(values, float)
        is_row_crowded = bool(is_crowded(array, numpy.array([len(values)]))[0])
        # A row that lies far apart has a remark of its own. Only a settled table takes verdicts
        # away from both, so there it is named for both reasons.
        is_named = is_settled or not _is_scattered(values)
        if is_row_crowded and is_named:
            crowded_rows.append(quote_label(label))
    if not crowded_rows:
        return []
    text = (
        f"The mean lies within {CROWDED:g} standard deviations of 100 %:"
        f" {', '.join(crowded_rows)}; {CROWDED_TEXT}."
    )
    if not is_compared:
        return [text]
    if is_settled:
        return [f"{text} So such a row can only be worse, and to such a baseline only better."]
    num_rows = _num_compared(scores)
    n, share = measured_share(SKEWED_SHARES, _fewest_seeds(scores), num_rows)
    return [
        f"{text} Of simulated tables with rows like Beta(20, 0.4) beside a steady baseline (n={n},"
        f" {counted(num_rows, 'row')} or about as many) {100 * share:.0f} % had a false verdict."
    ]


def _remarks_on_few_seeds(
    scores: Mapping[str, Sequence[float]], *, is_compared: bool, assumes_equal: bool
) -> list[str]:
    """Return how often tables with so few seeds are wrong; nothing where they are enough."""
    n = _fewest_seeds(scores)
    remarks = []
    if n < FEW_SEEDS:
        remarks.append(f"n={n} is few. {FEW_TEXT}{FEW_VERDICTS_TEXT if is_compared else ''}.")
    if n == 2 and assumes_equal:
        share = _nearest_above(TWO_SEEDS_SHARES, _num_compared(scores))
        remarks.append(
            "Two seeds cannot show that deviations differ, so they are taken as equal: where one is"
            f" up to ten times another, up to {100 * share:.0f} % of simulated tables with about as"
            " many rows had a false verdict."
        )
    return remarks


def _fewest_seeds(scores: Mapping[str, Sequence[float]]) -> int:
    """Return the seeds of the row that has the fewest; without rows a number that is enough."""
    return min((len(values) for values in scores.values()), default=FEW_SEEDS)


def _num_compared(scores: Mapping[str, Sequence[float]]) -> int:
    """Return the number of rows beside the baseline."""
    return max(1, len(scores) - 1)


def remarks_on_epochs(schedules: Iterable[str | None]) -> list[str]:
    """Return what it means that rows differ in their number of epochs alone.

    Args:
        schedules: names of the runs' learning rate schedules.
    """
    names = set(schedules)
    if not names or not names <= LENGTH_FREE_SCHEDULES:
        return []
    return [
        "Rows differ in their number of epochs alone, and runs of one seed begin with the same"
        " epochs. They are compared as if they were independent: where they move together, the"
        " intervals are wider than they need be."
    ]


def remarks_on_published(dataset: str, other_data: Iterable[str]) -> list[str]:
    """Return why no difference to published numbers is shown.

    Args:
        dataset: name of the data set that the published numbers are of.
        other_data: titles of the runs' data, where they are others.
    """
    titles = sorted(other_data)
    if not titles:
        return []
    return [
        f"The published numbers are of all of {dataset}. These runs trained on other data or on a"
        f" part ({', '.join(titles)}), so no difference to them is shown."
    ]
