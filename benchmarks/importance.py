"""How often the report's importance of parameters names the one that matters.

python benchmarks/importance.py

writes results/importance.csv. In each simulated study of random points one of three parameters
decides: the score falls with the square of the distance to the best learning rate, by up to 14
points, and seeds scatter by 1.5 points.
"""

import argparse
import sys
from pathlib import Path

import numpy
import pandas

from augean.analysis import studies
from augean.store.sweep_record import SweepRecord

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_runs import trial_job

OUTPUT = Path(__file__).parent / "results" / "importance.csv"
SPACE = {
    "optimizer.lr": "tag(log, interval(1e-3, 1.0))",
    "optimizer.momentum": "interval(0.0, 1.0)",
    "activation": "relu,elu,gelu",
}
NUM_TRIALS = (8, 12, 20, 40)


def simulate_study(num_trials: int, generator: numpy.random.Generator) -> SweepRecord:
    """Return a study whose scores depend on the learning rate alone."""
    jobs = []
    for number in range(num_trials):
        exponent = float(generator.uniform(-3, 0))
        values = {
            "optimizer.lr": 10**exponent,
            "optimizer.momentum": float(generator.uniform(0, 1)),
            "activation": str(generator.choice(["relu", "elu", "gelu"])),
        }
        distance = (exponent + 1.2) / 1.5
        score = 0.9 - 0.1 * distance**2 + 0.015 * float(generator.normal())
        jobs.append(trial_job(number, score, values=values))
    return SweepRecord(
        name="study", title="study", command="", created="", jobs=jobs, kind="study", space=SPACE
    )


def share_named_first(num_trials: int, num_studies: int) -> float:
    """Return the share of studies in which the learning rate comes first."""
    generator = numpy.random.default_rng(0)
    num_first = 0
    for _ in range(num_studies):
        shares = studies.importances(simulate_study(num_trials, generator), fewest=2)
        num_first += max(shares, key=shares.__getitem__) == "optimizer.lr"
    return num_first / num_studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--studies", type=int, default=400)
    arguments = parser.parse_args()
    lines = []
    for num_trials in NUM_TRIALS:
        share = share_named_first(num_trials, arguments.studies)
        lines.append({"trials": num_trials, "studies": arguments.studies, "first": share})
    frame = pandas.DataFrame(lines)
    frame.to_csv(arguments.output, index=False, float_format="%.3g", lineterminator="\n")


if __name__ == "__main__":
    main()
