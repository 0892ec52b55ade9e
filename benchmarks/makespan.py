"""A study of 64 trials of unequal length in 8 workers, beside Optuna's own loop in 8 processes:
when is all done?

OMP_NUM_THREADS=1 python benchmarks/makespan.py /tmp/makespan --repeats 3

Trials sleep instead of computing (`sleepers.Sleeper`), so that two cores carry eight workers. Both
sides run the same 64 trials in the same order (Optuna's sampler of a grid), train them by the same
function into run directories, report their epoch, and share a journal file. Optuna's processes stop
at the exact number of trials, by its own callback that counts the running ones too. A makespan is
the time from the start of the command, or of the first process, to the end of the last; importing
torch and all else is in it on both sides.
"""

import argparse
import csv
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NUM_TRIALS, NUM_WORKERS = 64, 8
SETTING = (
    "dataset=synthetic",
    "dataset.image_size=16",
    "dataset.num_val=40",
    "dataset.arguments.num_train_images=200",
    "dataset.arguments.num_test_images=60",
    "trainer.batch_size=160",
    "trainer.epochs=1",
    "trainer.precision=fp32",
    "schedule=constant",
    "model.name=sleeper",
    "model._target_=sleepers.Sleeper",
    "model.stem=null",
    "runtime.allowed_packages=[torch,augean,sleepers]",
    "runtime.progress=none",
    "runtime.threads=1",
)


def lengths(shortest: float, longest: float) -> list[float]:
    """Seconds of the trials, evenly spread on a logarithmic scale."""
    steps = range(NUM_TRIALS)
    return [
        round(shortest * (longest / shortest) ** (step / (NUM_TRIALS - 1)), 3) for step in steps
    ]


def run_augean(folder: Path, seconds: list[float]) -> None:
    space = f"++model.arguments.seconds={','.join(map(str, seconds))}"
    study = (
        "hydra/sweeper/sampler=grid",
        f"hydra.sweeper.n_trials={NUM_TRIALS}",
        f"runtime.workers={NUM_WORKERS}",
    )
    command = [
        sys.executable,
        "train.py",
        "-m",
        space,
        *SETTING,
        *study,
        f"runtime.outputs={folder}",
    ]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.DEVNULL)


def run_optuna(folder: Path, seconds: list[float]) -> None:
    import optuna

    folder.mkdir(parents=True)
    optuna.create_study(storage=open_journal(folder), study_name="study", direction="maximize")
    command = [sys.executable, __file__, str(folder), "--worker", *map(str, seconds)]
    processes = [subprocess.Popen(command, env=environment()) for _ in range(NUM_WORKERS)]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"processes of Optuna's failed: {codes}")


def work_for_optuna(folder: Path, seconds: list[float]) -> None:
    """One of Optuna's processes."""
    import optuna
    from optuna.trial import TrialState

    from augean.config.compose import compose
    from augean.runs.execute import execute

    def objective(trial: optuna.Trial) -> float:
        length = trial.suggest_categorical("seconds", seconds)
        config = compose(
            [*SETTING, f"++model.arguments.seconds={length}", f"runtime.outputs={folder}"]
        )

        def should_stop(epoch: int, val_accuracy: float | None) -> bool:
            trial.report(val_accuracy or 0.0, epoch)
            return trial.should_prune()

        return execute(config, should_stop=should_stop).objective

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.GridSampler({"seconds": seconds})
    study = optuna.load_study(study_name="study", storage=open_journal(folder), sampler=sampler)
    exact = optuna.study.MaxTrialsCallback(
        NUM_TRIALS, states=(TrialState.COMPLETE, TrialState.RUNNING)
    )
    study.optimize(objective, callbacks=[exact])


def open_journal(folder: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))


def environment() -> dict[str, str]:
    paths = [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder for outputs, removed at the end")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--shortest", type=float, default=10.0, help="seconds of the shortest trial"
    )
    parser.add_argument("--longest", type=float, default=60.0)
    parser.add_argument("--worker", type=float, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "makespan.csv"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.worker:
        return work_for_optuna(folder, arguments.worker)
    seconds = lengths(arguments.shortest, arguments.longest)
    print(
        f"{math.fsum(seconds) / NUM_WORKERS:.1f} s if nothing but the trials took time, evenly"
        " shared"
    )
    rows = []
    for repeat in range(arguments.repeats):
        for side, run in (("optuna", run_optuna), ("augean", run_augean)):
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            run(folder / side, seconds)
            took, after = (
                time.perf_counter() - started,
                resource.getrusage(resource.RUSAGE_CHILDREN),
            )
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            num_runs = len(list((folder / side / "runs").glob("*/summary.json")))
            shutil.rmtree(folder / side)
            assert num_runs == NUM_TRIALS
            rows.append([side, repeat, num_runs, f"{took:.2f}", f"{cpu:.2f}"])
            print(*rows[-1], flush=True)
    folder.rmdir()
    with arguments.output.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["side", "repeat", "runs", "seconds", "cpu_seconds"], *rows]
        )
    medians = {
        side: statistics.median(float(row[3]) for row in rows if row[0] == side)
        for side in ("optuna", "augean")
    }
    print(f"median: {medians} s; ratio {medians['augean'] / medians['optuna']:.3f}")


if __name__ == "__main__":
    main()
