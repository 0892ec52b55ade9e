"""How often the interval for new seeds and new test images holds the truth.

OMP_NUM_THREADS=1 python benchmarks/image_errors.py                    (under two minutes)

The first part simulates tables with a known truth: a run classifies an image right with a
probability that depends on the image, on the row and the image, and on the seed. The second part
takes real runs: two disjoint sets of seeds, tested on two disjoint halves of the test set, give a
difference each. Both estimate one truth, so the two lie within the 95 % limit that is made of the
variances of both in 95 % of cases. (One half's interval alone would have to miss far more often, as
it knows nothing of the other half's chance.) Nothing else is chosen with these runs in view.
"""

import argparse
import csv
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import stats

from augean.analysis.images import image_half_width, image_variance, row_images

RESULTS = Path(__file__).parent / "results"
ARCHIVE = Path(__file__).parents[1] / "results" / "cifar32" / "runs.tar.xz"
"""Real runs on the CIFAR-10 copy, which have recorded the images that they are right about."""
TABLE = "table1_activation"
NUM_IMAGES = 10_000
"""Of that copy's test set."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS / "image_errors.csv")
    arguments = parser.parse_args()
    lines = [*simulated(2000), *halves(400)]
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    for line in lines:
        print(*line.values())


# A simulation with a known truth


def simulated(num_tables: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each setting: rows that differ in 0 or about 2 points."""
    generator = numpy.random.default_rng(0)
    for num_images, share in ((300, 1.0), (2000, 0.25)):
        for num_seeds in (3, 5, 10):
            for row_by_image, seed, gain in (
                (0.3, 0.02, 0.0),
                (1.0, 0.02, 0.0),
                (1.0, 0.15, 0.0),
                (0.5, 0.05, 0.2),
            ):
                tables = int(share * num_tables)
                alone, both = simulate(
                    generator, tables, num_images, num_seeds, row_by_image, seed, gain
                )
                yield {
                    "source": "simulated",
                    "setting": f"row-by-image {row_by_image}, seed {seed}, gain {gain}",
                    "images": num_images,
                    "seeds": num_seeds,
                    "tables": tables,
                    "within_seeds_alone": f"{alone:.3f}",
                    "within_seeds_and_images": f"{both:.3f}",
                }


def simulate(
    generator: numpy.random.Generator,
    num_tables: int,
    num_images: int,
    num_seeds: int,
    row_by_image: float,
    seed: float,
    gain: float,
) -> tuple[float, float]:
    """Return how often the intervals over seeds, and over seeds and images, hold the truth.

    Args:
        row_by_image: deviation of a row's own difficulty of an image, on the probit scale.
        seed: deviation of a seed's ability.
        gain: of the row over the baseline.
    """
    image = 1.2
    spread = numpy.sqrt(1 + image**2 + row_by_image**2 + seed**2)
    truth = 100 * (stats.norm.cdf((2 + gain) / spread) - stats.norm.cdf(2 / spread))
    num_alone = 0
    num_both = 0
    quantile = stats.t.ppf(0.975, 2 * num_seeds - 2)
    for _ in range(num_tables):
        difficulty = image * generator.standard_normal(num_images, numpy.float32)
        rows = []
        for ability in (2 + gain, 2.0):
            own = row_by_image * generator.standard_normal(num_images, numpy.float32)
            seeds = seed * generator.standard_normal((num_seeds, 1), numpy.float32)
            noise = generator.standard_normal((num_seeds, num_images), numpy.float32)
            rows.append(noise + (ability + difficulty + own) + seeds > 0)
        scores = [100 * bits.mean(axis=1) for bits in rows]
        # Dunnett's test with a single row is Student's.
        half = quantile * numpy.sqrt(sum(values.var(ddof=1) for values in scores) / num_seeds)
        image_half = image_half_width(row_images(rows[0]), row_images(rows[1]), num_compared=1)
        error = scores[0].mean() - scores[1].mean() - truth
        num_alone += abs(error) <= half
        num_both += abs(error) <= numpy.hypot(half, image_half)
    return num_alone / num_tables, num_both / num_tables


# Real runs: disjoint seeds on disjoint halves of the test set


def halves(num_tables: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each pair of rows, number of seeds and size of the halves."""
    generator = numpy.random.default_rng(1)
    pool = read_pool()
    for first, second in combinations(sorted(pool), 2):
        most = min(len(pool[first]), len(pool[second])) // 2
        for num_seeds in sorted({3, most}):
            for num_images in (150, 1000, 5000):
                alone, both = compare_halves(
                    generator, pool[first], pool[second], num_seeds, num_images, num_tables
                )
                yield {
                    "source": "cifar32",
                    "setting": f"{first}, {second}",
                    "images": num_images,
                    "seeds": num_seeds,
                    "tables": num_tables,
                    "within_seeds_alone": f"{alone:.3f}",
                    "within_seeds_and_images": f"{both:.3f}",
                }


def compare_halves(
    generator: numpy.random.Generator,
    first: NDArray[numpy.bool_],
    second: NDArray[numpy.bool_],
    num_seeds: int,
    num_images: int,
    num_tables: int,
) -> tuple[float, float]:
    """Return how often two halves' differences lie within the limits of both halves' variances.

    Args:
        first: bool [seeds, images] of one row.
        second: the same of another row, tested on the same images.
        num_seeds: of each half.
        num_images: of each half.

    Returns:
        The share for limits of the seeds' variances alone, and of seeds and images.
    """
    num_alone = 0
    num_both = 0
    for _ in range(num_tables):
        images = generator.permutation(first.shape[1])[: 2 * num_images].reshape(2, num_images)
        first_seeds = generator.permutation(len(first))
        second_seeds = generator.permutation(len(second))
        values = []
        variances = []
        freedoms = []
        for part in range(2):
            own = slice(part * num_seeds, (part + 1) * num_seeds)
            row = first[first_seeds[own]][:, images[part]]
            other = second[second_seeds[own]][:, images[part]]
            values.append(row.mean() - other.mean())
            variances += [bits.mean(axis=1).var(ddof=1) / num_seeds for bits in (row, other)]
            freedoms += [num_seeds - 1, num_seeds - 1]
            variances.append(image_variance(row_images(row), row_images(other)))
            freedoms.append(len(images[part]) - 1)
        distance = abs(values[0] - values[1])
        of_seeds = [0, 1, 3, 4]
        num_alone += distance <= limit(
            [variances[index] for index in of_seeds], [freedoms[index] for index in of_seeds]
        )
        num_both += distance <= limit(variances, freedoms)
    return num_alone / num_tables, num_both / num_tables


def limit(variances: list[float], freedoms: list[int]) -> float:
    """Return the 95 % limit of a sum's error, by Satterthwaite's degrees of freedom."""
    total = sum(variances)
    parts = sum(value**2 / freedom for value, freedom in zip(variances, freedoms, strict=True))
    return float(stats.t.ppf(0.975, total**2 / parts) * numpy.sqrt(total))


def read_pool() -> Mapping[str, NDArray[numpy.bool_]]:
    """Return by row which images each seed's run has right: bool [seeds, images]."""
    with tarfile.open(ARCHIVE) as archive:
        files = {}
        for member in archive:
            if member.name.endswith("/correct.npy") or member.name.startswith("sweeps/"):
                file = archive.extractfile(member)
                files[member.name] = b"" if file is None else file.read()
    record = next(name for name in files if name.startswith(f"sweeps/{TABLE}"))
    rows: dict[str, list[NDArray[numpy.uint8]]] = {}
    for job in json.loads(files[record])["jobs"]:
        content = files.get(f"runs/{job['run']}/correct.npy")
        if content is not None:
            rows.setdefault(job["row"], []).append(numpy.load(io.BytesIO(content)))
    bits = {}
    for label, packed in rows.items():
        bits[label] = numpy.unpackbits(numpy.array(packed), axis=1, count=NUM_IMAGES).astype(bool)
    return bits


if __name__ == "__main__":
    main()
