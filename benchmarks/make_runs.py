"""Writes a folder of invented runs, as large as wanted, and measures the report that is made from
it.

python benchmarks/make_runs.py /tmp/many --runs 10000 --measure
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_runs import write_many


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--seeds", type=int, default=10, help="to a row")
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--measure", action="store_true", help="make the report and print its cost")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"{arguments.folder} is there already and is used as it is")
    else:
        write_many(
            arguments.folder,
            arguments.runs,
            epochs=arguments.epochs,
            seeds=arguments.seeds,
            tables=arguments.tables,
        )
    if arguments.measure:
        measure(arguments.folder)


def measure(folder: Path) -> None:
    """Print seconds, memory and size of a report in a process of its own."""
    command = [sys.executable, "-m", "augean", "report", "--outputs", str(folder)]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = (folder / "report" / "index.html").stat().st_size
    print(
        f"{seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of CPU time on {os.cpu_count()}"
        f" cores, largest process {usage.ru_maxrss / 1024:,.0f} MB, page {page / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
