"""Compare optimizers, each at the learning rate that its own validation accuracy chooses."""

import math
from typing import NamedTuple

from augean.analysis.comparison import Row, Table
from augean.analysis.factors import two_factors
from augean.analysis.simultaneous import compare
from augean.analysis.verdict import Difference


class OptimizerAtRates(NamedTuple):
    """One optimizer at every learning rate of the sweep."""

    optimizer: str
    means: list[float]
    """Test accuracy in percent by rate; NaN where no run is finished."""
    rate: str
    """Label of the rate with the best mean validation accuracy, among those at which no run
    diverged where there are some."""
    row: Row
    """The optimizer at that rate."""
    difference: Difference
    """To the first optimizer, which is at the rate that its own validation accuracy chooses."""


class Rates(NamedTuple):
    """Optimizers by learning rates."""

    rates: list[str]
    """Labels of the learning rates."""
    optimizers: list[OptimizerAtRates]
    """Without those that no rate has a finished run of; the first is compared with."""
    method: str
    """How the differences were judged, in words."""


def read_rates(table: Table) -> Rates | None:
    """Return the optimizers of a table of optimizer by learning rate; None without two of each."""
    factors = two_factors(table)
    if factors is None:
        return None
    rows = {row.label: row for row in table.rows}
    chosen: dict[str, tuple[str, Row]] = {}
    for optimizer in factors.rows:
        candidates = []
        for rate in factors.columns:
            row = rows.get(f"{optimizer}, {rate}")
            if row is not None and not math.isnan(row.val_accuracy):
                candidates.append((rate, row))
        # The mean of a rate at which runs diverged is that of its survivors.
        steady = [candidate for candidate in candidates if not candidate[1].num_diverged]
        if candidates:
            # Of equal accuracies `max` returns the first.
            chosen[optimizer] = max(
                steady or candidates, key=lambda candidate: candidate[1].val_accuracy
            )
    if not chosen:
        return None
    scores = {optimizer: row.scores for optimizer, (_, row) in chosen.items()}
    diverged = {optimizer: row.num_diverged for optimizer, (_, row) in chosen.items()}
    differences, method = compare(scores, next(iter(scores)), diverged)
    optimizers = []
    for optimizer, (rate, row) in chosen.items():
        line = OptimizerAtRates(
            optimizer=optimizer,
            means=factors.means[factors.rows.index(optimizer)].tolist(),
            rate=rate,
            row=row,
            difference=differences[optimizer],
        )
        optimizers.append(line)
    return Rates(rates=factors.columns, optimizers=optimizers, method=method)
