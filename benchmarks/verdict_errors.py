"""How often a table of equal rows has a false verdict: unequal deviations and skewed scores.

python benchmarks/verdict_errors.py

writes results/verdict_errors.csv. All rows of a simulated table have one true mean, so every
*better* or *worse* is false. Fixed numbers of seeds are judged as by `augean report`, growing ones
as by `augean settle`. tests/analysis/test_verdict_errors.py computes a part again.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy
import pandas
from numpy.typing import NDArray
from scipy import special, stats

from augean.analysis.dunnett import LargestStatistic
from augean.analysis.sequential_design import Design, compare_looks
from augean.analysis.simultaneous import LEVEL, LEVENE_LEVEL
from augean.analysis.welch import degrees_of_freedom, safe_level

OUTPUT = Path(__file__).parent / "results" / "verdict_errors.csv"
ROWS = (1, 3, 6, 12, 20)
UNEQUAL = ((2, 3), (3, 2), (3, 10), (10, 3), (5, 20), (20, 5))
"""Seeds of the baseline, and of each row."""
RATIOS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
SCORES_A_CHUNK = 2_000_000
Wide = Literal["one row", "rows", "baseline"]
Scores = NDArray[numpy.float64]
Draw = Callable[[numpy.random.Generator, int, int, int], Scores]
"""Makes tables of scores, shape (tables, 1 + rows, n), the baseline first."""
Judge = Callable[[Scores], NDArray[numpy.bool_]]
"""Tells which tables have a false verdict."""


@dataclass(frozen=True)
class Line:
    """One line of the CSV file."""

    method: Literal["fixed", "settled"]
    scores: str
    n: str
    """Seeds a row; least and most where the design is sequential."""
    rows: int
    ratio: float
    """Of the deviations; NaN where the scores say it."""
    tables: int
    false: float
    """Share of the tables with a false verdict."""


@lru_cache
def dunnett_bound(rows: int, n: int) -> float:
    """Return Dunnett's critical value of tables with n seeds a row."""
    return LargestStatistic(rows, (rows + 1) * (n - 1)).critical_value(LEVEL)


def fixed_false(tables: Scores) -> NDArray[numpy.bool_]:
    """Tell which tables get a *better* or *worse* by the report's comparison."""
    rows, n = tables.shape[1] - 1, tables.shape[2]
    pooled = numpy.sqrt(2 * (tables.var(-1, ddof=1) / n).mean(-1, keepdims=True))
    half = numpy.broadcast_to(dunnett_bound(rows, n) * pooled, (len(tables), rows))
    if n > 2:
        groups = numpy.moveaxis(tables, 1, 0)  # shape (1 + rows, tables, n)
        p = stats.levene(*groups, center="mean", axis=-1).pvalue
        half = numpy.where((p < LEVENE_LEVEL)[:, None], welch_half(tables, n, n), half)
    difference = tables[:, 1:].mean(-1) - tables[:, :1].mean(-1)
    found: NDArray[numpy.bool_] = (abs(difference) > half).any(-1)
    return found


def unequal_false(tables: Scores, num_baseline: int, n: int) -> NDArray[numpy.bool_]:
    """Tell the same of tables whose baseline and rows have so many of the seeds: never pooled."""
    difference = tables[:, 1:, :n].mean(-1) - tables[:, :1, :num_baseline].mean(-1)
    half = welch_half(tables, num_baseline, n)
    found: NDArray[numpy.bool_] = (abs(difference) > half).any(-1)
    return found


def welch_half(tables: Scores, num_baseline: int, n: int) -> NDArray[numpy.float64]:
    """Return half of each row's interval by Welch's t-tests, shape (tables, rows)."""
    baseline = tables[:, :1, :num_baseline].var(-1, ddof=1) / num_baseline
    own = tables[:, 1:, :n].var(-1, ddof=1) / n
    freedom = degrees_of_freedom(own, baseline, n, num_baseline)
    level = safe_level((1 - LEVEL) / own.shape[1], n, num_baseline)
    half: NDArray[numpy.float64] = -special.stdtrit(freedom, level / 2)
    return half * numpy.sqrt(own + baseline)


def settled_false(tables: Scores, design: Design) -> NDArray[numpy.bool_]:
    """Tell which tables get a *better* or *worse* at any look."""
    rows = tables[:, 1:]
    baseline = numpy.broadcast_to(tables[:, :1], rows.shape)
    looks = compare_looks(rows, baseline, design, rows.shape[1])
    decided = looks.code != 0
    deciding = decided.argmax(-1)[..., None]
    codes = numpy.take_along_axis(looks.code, deciding, -1)[..., 0]
    found: NDArray[numpy.bool_] = (abs(codes) == 1).any(-1)
    return found


def share(draw: Draw, judge: Judge, rows: int, n: int, tables: int, seed: int) -> float:
    """Return the share of false verdicts among so many tables."""
    generator = numpy.random.default_rng(seed)
    chunk = max(1, SCORES_A_CHUNK // ((rows + 1) * n))
    num_false = 0
    for start in range(0, tables, chunk):
        size = min(chunk, tables - start)
        num_false += int(judge(draw(generator, size, rows, n)).sum())
    return num_false / tables


def normal_scores(ratio: float, wide: Wide) -> Draw:
    """Return a source of normal scores around 50 %, of which some scatter more widely."""

    def draw(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
        scores = generator.normal(size=(tables, rows + 1, n))
        if wide == "baseline":
            scores[:, 0] *= ratio
        elif wide == "rows":
            scores[:, 1:] *= ratio
        else:
            scores[:, 1] *= ratio
        return 50 + scores

    return draw


def beta_scores(generator: numpy.random.Generator, shape: tuple[int, ...]) -> Scores:
    """Return accuracies like 98 %: most nearly 100, some far below (Beta(20, 0.4))."""
    return 100 * generator.beta(20, 0.4, shape)


def steady_scores(generator: numpy.random.Generator, shape: tuple[int, ...]) -> Scores:
    """Return normal scores of the same mean, with a tenth of their deviation."""
    return generator.normal(100 * 20 / 20.4, 0.3, shape)


def all_skewed(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
    """Draw rows and baseline from one skewed distribution."""
    return beta_scores(generator, (tables, rows + 1, n))


def skewed_rows(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
    """Draw skewed rows and a steady baseline."""
    baseline = steady_scores(generator, (tables, 1, n))
    return numpy.concatenate([baseline, beta_scores(generator, (tables, rows, n))], 1)


def skewed_baseline(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
    """Draw steady rows and a skewed baseline."""
    baseline = beta_scores(generator, (tables, 1, n))
    return numpy.concatenate([baseline, steady_scores(generator, (tables, rows, n))], 1)


def skewed_rows_far_below(
    generator: numpy.random.Generator, tables: int, rows: int, n: int
) -> Scores:
    """Draw rows that are as skewed, but around 60 %, and a steady baseline."""
    return skewed_rows(generator, tables, rows, n) - 38


def collapsing_rows(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
    """Draw rows of which a third of the seeds lies 40 points lower, and a steady baseline.

    All have one true mean, around which the seeds that do not collapse are 13 points too high.
    """
    baseline = generator.normal(size=(tables, 1, n))
    collapsed = generator.random((tables, rows, n)) < 1 / 3
    scores = generator.normal(size=(tables, rows, n)) + 40 / 3 - 40 * collapsed
    return 60 + numpy.concatenate([baseline, scores], 1)


def all_collapsing(generator: numpy.random.Generator, tables: int, rows: int, n: int) -> Scores:
    """Draw rows and baseline of which a third of the seeds lies 40 points lower."""
    collapsed = generator.random((tables, rows + 1, n)) < 1 / 3
    return 70 + generator.normal(size=collapsed.shape) - 40 * collapsed


COLLAPSING = "a third of the rows' seeds collapses, baseline steady"
SKEWED: dict[str, Draw] = {
    "all Beta(20, 0.4)": all_skewed,
    "rows Beta(20, 0.4), baseline steady": skewed_rows,
    "baseline Beta(20, 0.4), rows steady": skewed_baseline,
    "rows Beta(20, 0.4) less 38, baseline steady": skewed_rows_far_below,
    COLLAPSING: collapsing_rows,
    "a third of all seeds collapses": all_collapsing,
}


def fixed_lines(tables: int) -> Iterator[Line]:
    """Measure tables of a fixed number of seeds."""
    for n in (2, 3, 4, 5, 10):
        for rows in ROWS:
            for wide in ("one row", "rows", "baseline"):
                for ratio in RATIOS:
                    draw = normal_scores(ratio, wide)
                    found = share(draw, fixed_false, rows, n, tables, seed=0)
                    yield Line("fixed", f"normal, {wide} wide", str(n), rows, ratio, tables, found)
    for n in (3, 5, 10, 20):
        for rows in ROWS:
            for name, draw in SKEWED.items():
                found = share(draw, fixed_false, rows, n, tables // 2, seed=1)
                yield Line("fixed", name, str(n), rows, numpy.nan, tables // 2, found)


def unequal_lines(tables: int) -> Iterator[Line]:
    """Measure tables whose baseline has other numbers of seeds than the rows."""
    for num_baseline, n in UNEQUAL:

        def judge(scores: Scores, baseline: int = num_baseline, n: int = n) -> NDArray[numpy.bool_]:
            return unequal_false(scores, baseline, n)

        for rows in ROWS:
            for wide in ("rows", "baseline"):
                for ratio in RATIOS:
                    draw = normal_scores(ratio, wide)
                    found = share(draw, judge, rows, max(num_baseline, n), tables, seed=4)
                    seeds = f"{n}, baseline {num_baseline}"
                    yield Line("fixed", f"normal, {wide} wide", seeds, rows, ratio, tables, found)


def settled_lines(tables: int) -> Iterator[Line]:
    """Measure tables that `augean settle` grows."""
    for least, most in ((3, 20), (3, 3), (3, 10), (3, 50), (5, 20), (10, 20)):
        design = Design(least=least, most=most)
        usual = design == Design()

        def judge(scores: Scores, design: Design = design) -> NDArray[numpy.bool_]:
            return settled_false(scores, design)

        for rows in (*ROWS, 60) if usual else (1, 20):
            for wide in ("rows", "baseline"):
                for ratio in (1.0, 2.0, 5.0, 10.0, 25.0) if usual else (5.0, 10.0):
                    draw = normal_scores(ratio, wide)
                    num = tables if rows < 12 else tables // 4
                    found = share(draw, judge, rows, most, num, seed=2)
                    n = f"{least} to {most}"
                    yield Line("settled", f"normal, {wide} wide", n, rows, ratio, num, found)
        for rows in ROWS if most == 20 else ():
            for name, draw in SKEWED.items():
                found = share(draw, judge, rows, most, tables // 8, seed=3)
                n = f"{least} to {most}"
                yield Line("settled", name, n, rows, numpy.nan, tables // 8, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--fixed", type=int, default=4000, help="tables a line")
    parser.add_argument("--settled", type=int, default=4000, help="tables a line, at most")
    arguments = parser.parse_args()
    lines = [*fixed_lines(arguments.fixed), *unequal_lines(arguments.fixed)]
    lines += settled_lines(arguments.settled)
    frame = pandas.DataFrame([asdict(line) for line in lines])
    frame.to_csv(arguments.output, index=False, float_format="%.4g", lineterminator="\n")


if __name__ == "__main__":
    main()
