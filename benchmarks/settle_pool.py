"""What settling promises, on real scores: error rates and cost of its sequential design, by
resampling the pool.

python benchmarks/settle_pool.py

writes results/settle_pool.csv from results/digits_pool.csv: 400 runs, ten configurations, 40 seeds
each. A row's seeds are drawn without replacement, as a sweep draws them (each seed at most once),
and with replacement, as from endlessly many seeds with the same scores, which is harder.
tests/sweeps/test_settle.py recomputes a part.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas
from numpy.typing import NDArray
from scipy import special

from augean.analysis.sequential_design import Design, compare_looks, intervals, verdicts

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
POOL = pandas.read_csv(RESULTS / "digits_pool.csv")
SCORES = {str(name): 100 * group.test_accuracy.to_numpy() for name, group in POOL.groupby("config")}
STEADY = sorted(name for name, scores in SCORES.items() if scores.min() >= scores.max() / 2)
COLLAPSING = sorted(SCORES.keys() - set(STEADY))
DESIGN = Design()
Scores = NDArray[numpy.float64]
Integers = NDArray[numpy.int64]
"""Codes of verdicts, or numbers of seeds."""


def draw(
    generator: numpy.random.Generator, scores: Scores, repeats: int, n: int, *, replace: bool
) -> Scores:
    """Scores of n seeds in the order in which they come, shape (repeats, n)."""
    if replace:
        return scores[generator.integers(0, len(scores), (repeats, n))]
    return generator.permuted(numpy.tile(scores, (repeats, 1)), axis=1)[:, :n]


def settle(tables: Scores, design: Design = DESIGN) -> tuple[Integers, Integers]:
    """Verdict and number of seeds of each row, as `augean settle` would leave them; both (repeats,
    rows).

    Args:
        tables: shape (repeats, 1 + rows, most), the baseline first.
    """
    rows, baseline = tables[:, 1:], tables[:, :1]
    looks = compare_looks(rows, numpy.broadcast_to(baseline, rows.shape), design, rows.shape[1])
    found = looks.code
    last = numpy.where((found != 0).any(-1), (found != 0).argmax(-1), found.shape[-1] - 1)
    return numpy.take_along_axis(found, last[..., None], -1)[..., 0], design.least + last


def runs(seeds: Integers) -> Integers:
    """All runs of a table: the baseline has as many seeds as its longest row."""
    total: Integers = seeds.sum(1) + seeds.max(1)
    return total


def fixed(tables: Scores, n: int, margin: float = DESIGN.margin) -> Integers:
    """Verdicts after exactly n seeds a row, once: Welch's t-intervals, Bonferroni over the rows."""
    mean, square = tables[..., :n].mean(-1), tables[..., :n].var(-1, ddof=1) / n
    a, b = square[:, 1:], square[:, :1]
    freedom = (a + b) ** 2 / ((a**2 + b**2) / (n - 1))
    half = special.stdtrit(freedom, 1 - DESIGN.alpha / a.shape[1] / 2) * numpy.sqrt(a + b)
    return verdicts(mean[:, 1:] - mean[:, :1], half, margin)


def false(found: Integers, truth: float, margin: float) -> NDArray[numpy.bool_]:
    """Tables with a verdict that the true difference of all their rows contradicts."""
    wrong = (
        ((found == 1) & (truth <= 0))
        | ((found == -1) & (truth >= 0))
        | ((found == 2) & (abs(truth) >= margin))
    )
    result: NDArray[numpy.bool_] = wrong.any(1)
    return result


def centred(name: str, sd: float | None = None) -> Scores:
    """A configuration's scores around 0, with another standard deviation where one is given."""
    scores = SCORES[name] - SCORES[name].mean()
    return scores if sd is None else scores * sd / scores.std()


def line(what: str, rows: int, replace: bool, **numbers: Any) -> dict[str, Any]:
    return {
        "what": what,
        "rows": rows,
        "drawn": "with replacement" if replace else "as a sweep",
    } | numbers


def error_rates(repeats: int, tables: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """False verdicts of tables whose true differences are known.

    Args:
        repeats: of each table.
        tables: of different configurations, chosen at random.
    """
    generator, most = numpy.random.default_rng(seed), DESIGN.most

    def share(
        names: Sequence[str], replace: bool, truth: float = 0.0, margin: float = DESIGN.margin
    ) -> float:
        table = numpy.stack(
            [draw(generator, centred(name), repeats, most, replace=replace) for name in names], 1
        )
        table[:, 1:] += truth
        design = Design(margin=margin)
        return float(false(settle(table, design)[0], truth, margin).mean())

    def summary(values: Sequence[float]) -> dict[str, float]:
        return {"mean": float(numpy.mean(values)), "least": min(values), "highest": max(values)}

    for rows in (1, 3):
        for replace in (False, True):
            for group, names in (("steady", STEADY), ("collapsing", COLLAPSING)):
                values = [share([name] * (rows + 1), replace) for name in names]
                yield line(
                    f"false verdicts, one configuration ({group})", rows, replace, **summary(values)
                )
            for group, names in (("steady", STEADY), ("all", sorted(SCORES))):
                chosen = [
                    generator.choice(names, rows + 1, replace=False).tolist() for _ in range(tables)
                ]
                values = [share(mixed, replace) for mixed in chosen]
                yield line(
                    f"false verdicts, several moved to one mean ({group})",
                    rows,
                    replace,
                    **summary(values),
                )
            # These scores scatter too widely for a margin of 0.5 points ever to be shown; a wide
            # one can be.
            values = []
            for mixed in (
                generator.choice(STEADY, rows + 1, replace=False).tolist() for _ in range(tables)
            ):
                margin = 3 * float(numpy.mean([SCORES[name].std() for name in mixed]))
                values += [share(mixed, replace, sign * margin, margin) for sign in (1, -1)]
            yield line("false verdicts just outside the margin", rows, replace, **summary(values))


def contradictions(repeats: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Tables of different configurations as they are: verdicts that contradict the means of all
    their seeds.
    """
    generator = numpy.random.default_rng(seed)
    for replace in (False, True):
        wrong, undecided, spent = [], [], []
        for _ in range(repeats):
            names = generator.choice(sorted(SCORES), 4, replace=False).tolist()
            table = numpy.stack(
                [draw(generator, SCORES[name], 1, DESIGN.most, replace=replace) for name in names],
                1,
            )
            found, seeds = settle(table)
            truth = numpy.array(
                [SCORES[name].mean() - SCORES[names[0]].mean() for name in names[1:]]
            )
            pairs = zip(found[0], truth, strict=True)
            wrong.append(
                any(
                    false(numpy.array([[one]]), float(value), DESIGN.margin)[0]
                    for one, value in pairs
                )
            )
            undecided.append(float((found == 0).mean()))
            spent.append(float(runs(seeds)[0]))
        numbers = {
            "mean": numpy.mean(wrong),
            "undecided": numpy.mean(undecided),
            "runs": numpy.mean(spent),
        }
        yield line("false verdicts, several configurations as they are", 3, replace, **numbers)


def costs(repeats: int, sds: Sequence[float | None], seed: int = 2) -> Iterator[dict[str, Any]]:
    """Power and runs beside a fixed design of 10 seeds: rows one point better than the baseline, or
    equal to it.

    The scores have the pool's shapes, brought to one standard deviation; None leaves each its own.
    """
    generator = numpy.random.default_rng(seed)
    for rows in (1, 3):
        for truth in (1.0, 0.0):
            for sd in sds:
                parts = []
                for _ in range(20):
                    names = generator.choice(STEADY, rows + 1, replace=False).tolist()
                    scores = [centred(name, sd) for name in names]
                    drawn = [
                        draw(generator, own, repeats // 20, DESIGN.most, replace=True)
                        for own in scores
                    ]
                    parts.append(numpy.stack(drawn, 1))
                table = numpy.concatenate(parts)
                table[:, 1:] += truth
                right, ten = 1 if truth else 2, 10 * (rows + 1)
                found, seeds = settle(table)
                numbers = {"difference": truth, "sd": sd, "power": (found == right).mean()}
                numbers |= {
                    "runs": runs(seeds).mean(),
                    "power_fixed_10": (fixed(table, 10) == right).mean(),
                }
                yield line("cost", rows, True, **numbers, of_fixed_10=runs(seeds).mean() / ten)


def normal_scores(repeats: int, seed: int = 3) -> Iterator[dict[str, Any]]:
    """How often any interval misses, where scores are normal, by the ratio of the standard
    deviations.
    """
    generator = numpy.random.default_rng(seed)
    for rows in (1, 3):
        for ratio in (1.0, 2.0, 5.0, 25.0):
            for scaled in ("baseline", "rows"):
                table = generator.normal(size=(repeats, rows + 1, DESIGN.most))
                table[:, :1] *= ratio if scaled == "baseline" else 1
                table[:, 1:] *= ratio if scaled == "rows" else 1
                own = table[:, 1:]
                difference, half = intervals(
                    own, numpy.broadcast_to(table[:, :1], own.shape), DESIGN, rows
                )
                miss = (abs(difference) > half).any((1, 2)).mean()
                yield line(
                    f"misses of normal scores, {scaled} {ratio:g} times as wide",
                    rows,
                    True,
                    mean=miss,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS / "settle_pool.csv")
    arguments = parser.parse_args()
    sds = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, None)
    lines = [
        *error_rates(4000, 40),
        *contradictions(4000),
        *costs(8000, sds),
        *normal_scores(40_000),
    ]
    pandas.DataFrame(lines).to_csv(
        arguments.output, index=False, float_format="%.4g", lineterminator="\n"
    )
    print(pandas.DataFrame(lines).to_string())


if __name__ == "__main__":
    main()
