"""Trains the pool of real runs on which tests/analysis/test_comparison.py proves the report's
statistics; scores go to a CSV.

OMP_NUM_THREADS=1 python benchmarks/digits_pool.py /tmp/pool

Every configuration gets the same seeds, in a folder of its own, and finished runs are kept, so that
the command can be given again after an interruption. Among the configurations are one that
collapses on some seeds (Adam at a learning rate of 0.1) and one that does so on most (RMSprop):
resampling from well-behaved scores alone would prove too little.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas

from augean.report import load_runs

ROOT = Path(__file__).parents[1]
COMMON = ("experiment=demo", "width=w8", "trainer.epochs=5", "runtime.progress=none")
CONFIGS = {
    "leaky_relu": (),
    "relu": ("activation=relu",),
    "elu": ("activation=elu",),
    "gelu": ("activation=gelu",),
    "silu": ("activation=silu",),
    "weight_decay_5e-4": ("regularization=l2_5e-4",),
    "adagrad_0.1": ("optimizer=adagrad",),
    "adam_1e-3": ("optimizer=adam", "optimizer.lr=1e-3"),
    "adam_0.1": ("optimizer=adam",),
    "rmsprop_0.1": ("optimizer=rmsprop",),
}
"""By label: what differs from SGD at 0.1 with LeakyReLU and no weight decay."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs go; about 0.6 MB each")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "digits_pool.csv"
    )
    arguments = parser.parse_args()
    parts = []
    for label, overrides in CONFIGS.items():
        folder = (arguments.folder / label).resolve()
        seeds = f"seed=range(0,{arguments.seeds})"
        command = [
            sys.executable,
            "train.py",
            "-m",
            *COMMON,
            *overrides,
            seeds,
            f"runtime.outputs={folder}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        parts.append(load_runs(folder).assign(config=label))
    runs = pandas.concat(parts)
    if not (runs.state == "finished").all():
        sys.exit(f"not all runs finished: {runs.groupby('config').state.value_counts().to_dict()}")
    columns = ["config", "seed", "test_accuracy", "val_accuracy", "seconds"]
    runs = runs.sort_values(["config", "seed"])[columns]
    runs.to_csv(arguments.output, index=False, float_format="%.6g", lineterminator="\n")
    print(f"{len(runs)} runs: {arguments.output}")


if __name__ == "__main__":
    main()
