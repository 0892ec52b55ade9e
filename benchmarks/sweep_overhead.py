"""What a sweep costs beyond its training, per job, per skipped run and for a large sweep that is
done.

OMP_NUM_THREADS=1 python benchmarks/sweep_overhead.py /tmp/overhead --repeats 5

Jobs: grids of few and of many tiny runs; the difference of their costs, less the training that the
runs' summaries tell, by the difference of their numbers, so that the start of Python and torch is
not counted. Skipped runs: grids that are done already, likewise; their runs are copies of a real
one under the ids that the grid asks for. Times are of the whole command: on the wall, and of its
CPU (user and system), which other work on the machine disturbs less.
"""

import argparse
import csv
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from augean.config.compose import compose
from augean.runs.address import find_address
from augean.runs.execute import execute
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary, write_summary

ROOT = Path(__file__).parents[1]
SETTING = (
    "dataset=synthetic",
    "dataset.image_size=16",
    "dataset.num_val=40",
    "dataset.arguments.num_train_images=200",
    "dataset.arguments.num_test_images=60",
    "width.channels=4",
    "trainer.epochs=1",
    "trainer.precision=fp32",
    "runtime.progress=none",
)


def sweep(outputs: Path, num_runs: int) -> tuple[float, float]:
    """Seconds on the wall and of CPU of a grid over so many seeds."""
    command = [
        sys.executable,
        "train.py",
        "-m",
        f"seed=range(0,{num_runs})",
        *SETTING,
        f"runtime.outputs={outputs}",
    ]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def trained_seconds(outputs: Path) -> float:
    paths = runs_dir(outputs).iterdir()
    return sum(summary.seconds or 0.0 for path in paths if (summary := read_summary(path)))


def copy_runs(outputs: Path, num_runs: int) -> None:
    """Finished runs for the seeds 0 to `num_runs` - 1: the first real, the others copies of it."""
    config = compose([*SETTING, f"runtime.outputs={outputs}"])
    first = execute(config)
    for seed in range(1, num_runs):
        address = find_address(replace(config, seed=seed))
        shutil.copytree(first.address.path, address.path)
        flat = {**first.summary.config, "seed": seed}
        write_summary(address.path, replace(first.summary, id=address.id, config=flat))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder for outputs, removed at the end")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1000, help="of the large sweep")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_overhead.csv"
    )
    arguments = parser.parse_args()
    folder, rows = arguments.folder.resolve(), []
    copy_runs(folder / "done", arguments.runs)
    for repeat in range(arguments.repeats):
        few, many, trained = 4, 24, []
        costs = []
        for number in (few, many):
            outputs = folder / f"{repeat}-{number}"
            costs.append(sweep(outputs, number))
            trained.append(trained_seconds(outputs))
            shutil.rmtree(outputs)
        for kind, index in (("wall", 0), ("cpu", 1)):
            # One thread: what a run trained on the wall it trained on the CPU, where nothing else
            # runs.
            gross = costs[1][index] - costs[0][index]
            rows.append(
                [f"job, {kind}", repeat, (gross - (trained[1] - trained[0])) / (many - few)]
            )
            rows.append([f"job with its training, {kind}", repeat, gross / (many - few)])
        small, large = sweep(folder / "done", 10), sweep(folder / "done", arguments.runs)
        for kind, index in (("wall", 0), ("cpu", 1)):
            rows.append(
                [
                    f"skipped run, {kind}",
                    repeat,
                    (large[index] - small[index]) / (arguments.runs - 10),
                ]
            )
            rows.append(
                [f"sweep of {arguments.runs:,} runs that are done, {kind}", repeat, large[index]]
            )
    shutil.rmtree(folder)
    with arguments.output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(
            [
                ["what", "repeat", "seconds"],
                *([name, repeat, f"{s:.4f}"] for name, repeat, s in rows),
            ]
        )
    for name in dict.fromkeys(row[0] for row in rows):
        values = [row[2] for row in rows if row[0] == name]
        print(
            f"{name}: median {statistics.median(values):.3f} s of {len(values)}"
            f" ({min(values):.3f}-{max(values):.3f})"
        )


if __name__ == "__main__":
    main()
