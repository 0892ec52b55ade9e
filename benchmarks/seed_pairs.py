"""Measure whether two rows move together over equal seeds, which would make pairing them worth it.

python benchmarks/seed_pairs.py results/reduced/runs.tar.xz results/cifar32/runs.tar.xz

writes results/seed_pairs.csv. Runs of one seed share the order of their batches, and where the
network is the same their first weights. Pairing them by seed helps as far as their scores correlate
over seeds. Pairs of rows whose runs begin with the same steps are left out.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
import pandas

from augean.analysis.load import scan
from augean.store.archive.packing import unpack

RESULTS = Path(__file__).parent / "results"
POOL = RESULTS / "digits_pool.csv"
LATE_KEYS = ("trainer.epochs", "trainer.reset_optimizer", "record.", "schedule.")
"""Beginnings of config keys that change nothing in the first steps of a run, or need not."""
FEWEST_SEEDS = 3
NUM_PERMUTATIONS = 1000
Scores = Mapping[int, float]
"""Test accuracy in percent by seed."""


@dataclass(frozen=True)
class Row:
    """The runs of one configuration."""

    beginning: str
    """What decides the first steps of its runs."""
    scores: Scores


@dataclass(frozen=True)
class Line:
    """One line of the CSV file."""

    source: str
    rows: int
    pairs: int
    seeds: str
    """Fewest and most seeds that a pair has in common."""
    correlation: float
    """Mean over the pairs, each weighted by its seeds less one."""
    low: float
    high: float
    """Middle 95 % of that mean where each row's scores are shuffled over its seeds."""


def rows_of_archive(archive: Path) -> list[Row]:
    """Return the rows of an archive that have enough seeds and scores that differ."""
    scores: dict[str, dict[int, float]] = {}
    beginnings: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        unpack(archive, Path(folder))
        for run in scan(Path(folder), check_freshness=False).runs.values():
            if run.test_accuracy is None or run.seed is None:
                continue
            config = {key: value for key, value in run.config.items() if key != "seed"}
            row = json.dumps(config, sort_keys=True)
            scores.setdefault(row, {})[run.seed] = 100 * run.test_accuracy
            early = {key: config[key] for key in config if not key.startswith(LATE_KEYS)}
            beginnings[row] = json.dumps(early, sort_keys=True)
    rows = [Row(beginning=beginnings[row], scores=scores[row]) for row in scores]
    return [row for row in rows if len(row.scores) >= FEWEST_SEEDS]


def rows_of_pool(path: Path) -> list[Row]:
    """Return the ten configurations of the pool, none of which begins as another does."""
    frame = pandas.read_csv(path)
    rows = []
    for name, group in frame.groupby("config"):
        scores = dict(zip(group.seed, 100 * group.test_accuracy, strict=True))
        rows.append(Row(beginning=str(name), scores=scores))
    return rows


def pairs_of(rows: Iterable[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield pairs of rows that begin with different steps and have enough seeds in common."""
    for first, second in combinations(rows, 2):
        common = first.scores.keys() & second.scores.keys()
        if first.beginning == second.beginning or len(common) < FEWEST_SEEDS:
            continue
        # Without spread there is no correlation.
        if all(len({row.scores[seed] for seed in common}) > 1 for row in (first, second)):
            yield first, second


def mean_correlation(pairs: Sequence[tuple[Row, Row]]) -> float:
    """Return the mean of Pearson's r over the pairs, each weighted by its seeds less one."""
    correlations = []
    weights = []
    for first, second in pairs:
        common = sorted(first.scores.keys() & second.scores.keys())
        scores = [[row.scores[seed] for seed in common] for row in (first, second)]
        correlations.append(numpy.corrcoef(scores)[0, 1])
        weights.append(len(common) - 1)
    # Shuffled scores may have no spread over the seeds that a pair has in common.
    valid = ~numpy.isnan(correlations)
    return float(
        numpy.average(numpy.array(correlations)[valid], weights=numpy.array(weights)[valid])
    )


def shuffled(row: Row, generator: numpy.random.Generator) -> Row:
    """Return the row with its scores dealt out to its seeds anew."""
    values = generator.permutation(list(row.scores.values())).tolist()
    return Row(beginning=row.beginning, scores=dict(zip(row.scores, values, strict=True)))


def measure(source: str, rows: Sequence[Row], num_permutations: int) -> Line:
    """Measure one source, and what it would show if seeds meant nothing."""
    pairs = list(pairs_of(rows))
    generator = numpy.random.default_rng(0)
    chance = []
    with numpy.errstate(invalid="ignore"):
        for _ in range(num_permutations):
            by_row = {id(row): shuffled(row, generator) for row in rows}
            chance.append(mean_correlation([(by_row[id(a)], by_row[id(b)]) for a, b in pairs]))
    sizes = [len(first.scores.keys() & second.scores.keys()) for first, second in pairs]
    low, high = numpy.quantile(chance, [0.025, 0.975]).tolist()
    return Line(
        source=source,
        rows=len({id(row) for pair in pairs for row in pair}),
        pairs=len(pairs),
        seeds=f"{min(sizes)} to {max(sizes)}",
        correlation=mean_correlation(pairs),
        low=low,
        high=high,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", type=Path, nargs="*")
    parser.add_argument("--output", type=Path, default=RESULTS / "seed_pairs.csv")
    parser.add_argument("--permutations", type=int, default=NUM_PERMUTATIONS)
    arguments: Any = parser.parse_args()
    lines = [measure("digits_pool", rows_of_pool(POOL), arguments.permutations)]
    for archive in arguments.archives:
        rows = rows_of_archive(archive)
        lines.append(measure(archive.parent.name, rows, arguments.permutations))
    frame = pandas.DataFrame([asdict(line) for line in lines])
    frame.to_csv(arguments.output, index=False, float_format="%.3g", lineterminator="\n")


if __name__ == "__main__":
    main()
