"""Does pruning pay? Replays studies on a table of real learning curves, with Augean's own study,
sampler and pruners.

    python benchmarks/pruning.py table /tmp/curves   # trains the table: 162 runs on digits
    python benchmarks/pruning.py replay              # 20 studies each way: results/pruning.csv
    python benchmarks/pruning.py samplers            # TPE's options, the plugin's and Optuna's own

Set OMP_NUM_THREADS=1 where the table is trained.

In a replay nothing is trained: a trial reports the epochs of its configuration's curve, through the
reporter that a job has, until the pruner stops it. As in Augean, epochs that the study has paid for
are not paid again: a configuration that comes again goes on where it was pruned, and costs nothing
where it was finished. Regret is the table's best score less the score of the study's winner.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution

from augean.config.sweeper_schema import PRUNERS
from augean.report import load_metrics, load_runs
from augean.sweeps.job import TRIAL
from augean.sweeps.studies.study import Study, StudySetup
from augean.sweeps.studies.trial import TrialReporter, make_pruner

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "benchmarks" / "results" / "learning_curves.csv"
EPOCHS, NUM_VAL, NUM_STUDIES = 27, 600, 20
SPACE = {
    "activation": ("relu", "elu", "silu"),
    "optimizer.lr": ("0.001", "0.003", "0.01", "0.03", "0.1", "0.3"),
    "optimizer.momentum": ("0", "0.8", "0.95"),
    "regularization.weight_decay": ("0", "1e-3", "1e-2"),
}
SETTING = (
    "dataset=digits",
    "dataset.num_train=400",
    f"dataset.num_val={NUM_VAL}",
    "model=vgg_a_bn",
    "width=w8",
    f"trainer.epochs={EPOCHS}",
    "trainer.batch_size=50",
    "trainer.precision=fp32",
    "schedule=constant",
    "augmentation=none",
)
Curves = dict[tuple[str, ...], list[float]]
"""By point in the order of `SPACE`: validation accuracy after each epoch; shorter where the run
diverged."""


def number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def train_table(folder: Path) -> None:
    """Train every point and write the number of right validation images of every epoch."""
    axes = [f"{key}={','.join(values)}" for key, values in SPACE.items()]
    command = [
        sys.executable,
        "train.py",
        "-m",
        *axes,
        *SETTING,
        f"runtime.outputs={folder}",
        "runtime.progress=none",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    runs = (
        load_runs(folder).rename(columns={"activation.name": "activation"}).set_index("directory")
    )
    curves = load_metrics(folder).groupby("directory").val_accuracy.apply(list)
    texts = {key: {number(text): text for text in values} for key, values in SPACE.items()}
    rows = [
        [
            *(texts[key][runs.loc[directory, key]] for key in SPACE),
            *(round(value * NUM_VAL) for value in curve),
        ]
        for directory, curve in curves.items()
    ]
    with TABLE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [[*SPACE, *(f"right_{epoch}" for epoch in range(1, EPOCHS + 1))], *sorted(rows)]
        )
    print(f"{len(rows)} curves: {TABLE}")


def read_table() -> Curves:
    with TABLE.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {
        tuple(row[: len(SPACE)]): [int(cell) / NUM_VAL for cell in row[len(SPACE) :] if cell]
        for row in rows
    }


def score(curve: list[float]) -> float:
    """As a sweep sees it: the best epoch of a finished run, 0 for a diverged one."""
    return max(curve) if len(curve) == EPOCHS else 0.0


def replay(
    curves: Curves, pruner: str, seed: int, budget: int
) -> list[tuple[int, float, int, int]]:
    """One study of TPE until its epochs are spent.

    Returns:
        After each trial: epochs spent, regret of the best finished trial, trials so far, pruned
        ones among them.
    """
    best, history = max(map(score, curves.values())), []
    seen: dict[tuple[str, ...], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        setup = StudySetup(
            name="replay",
            storage=f"{folder}/replay.journal",
            space={key: CategoricalDistribution(values) for key, values in SPACE.items()},
            direction="maximize",
            base={},
            num_trials=10**6,
            pruner=PRUNERS[pruner],
            max_failures=0,
        )
        # The sweeper's shift of the seed, from a start of each study's own.
        study = Study(
            setup, Path(folder), lambda done: optuna.samplers.TPESampler(seed=10_000 * seed + done)
        )
        spent = num_trials = num_pruned = 0
        winner = 0.0
        with study.working():
            while spent < budget:
                trial = study.next()
                assert trial is not None
                os.environ[TRIAL] = study.environment(trial)
                reporter = TrialReporter.from_environment()
                point = tuple(trial.params[key] for key in SPACE)
                curve, first, pruned = curves[point], seen.get(point, 0), False
                for epoch in range(first + 1, len(curve) + 1):
                    seen[point], spent = epoch, spent + 1
                    if reporter.should_stop(epoch, curve[epoch - 1]):
                        pruned = True
                        break
                num_trials, num_pruned = num_trials + 1, num_pruned + pruned
                if pruned:
                    reporter.tell_pruned(seconds=0.0)
                else:
                    reporter.tell(score(curve), seconds=0.0)
                    winner = max(winner, score(curve))
                history.append((spent, best - winner, num_trials, num_pruned))
    return history


def replay_workers(
    curves: Curves, options: dict[str, bool], pruner: str, seed: int, num_workers: int, budget: int
) -> float:
    """One study in memory, whose workers train an epoch each in turn.

    Args:
        options: of TPE.

    Returns:
        Regret of the best finished trial when the epochs are spent.
    """
    space = {key: CategoricalDistribution(values) for key, values in SPACE.items()}
    study = optuna.create_study(direction="maximize", pruner=make_pruner(PRUNERS[pruner]))
    best, winner = max(map(score, curves.values())), 0.0
    # Epochs of each point that the study has paid for.
    seen: dict[tuple[str, ...], int] = {}
    running: dict[int, tuple[optuna.Trial, tuple[str, ...], int]] = {}
    spent = num_trials = 0
    while spent < budget:
        for worker in range(num_workers):
            if worker not in running:
                sampler_seed = 10_000 * seed + num_trials
                study.sampler = optuna.samplers.TPESampler(seed=sampler_seed, **options)
                trial = study.ask(space)
                point = tuple(trial.params[key] for key in SPACE)
                running[worker] = (trial, point, seen.get(point, 0))
                num_trials += 1
            trial, point, epoch = running[worker]
            curve = curves[point]
            if epoch < len(curve):
                epoch, spent = epoch + 1, spent + 1
                seen[point] = max(seen.get(point, 0), epoch)
                running[worker] = (trial, point, epoch)
                trial.report(curve[epoch - 1], epoch)
                if trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    del running[worker]
                    continue
            if epoch == len(curve):
                study.tell(trial, score(curve))
                winner = max(winner, score(curve))
                del running[worker]
    return best - winner


def compare_samplers(num_studies: int) -> None:
    """Print the regret of TPE with the plugin's options and with Optuna's own defaults."""
    curves = read_table()
    samplers = {"plugin": {"multivariate": False, "constant_liar": False}, "Optuna": {}}
    for pruner in ("none", "halving"):
        for num_workers in (1, 4):
            for name, options in samplers.items():
                regrets = []
                for seed in range(num_studies):
                    regret = replay_workers(curves, options, pruner, seed, num_workers, 540)
                    regrets.append(100 * regret)
                error = statistics.stdev(regrets) / num_studies**0.5
                print(
                    f"pruner {pruner}, {num_workers} workers, {name}: mean regret"
                    f" {statistics.fmean(regrets):.2f} +- {error:.2f} points, {num_studies} studies"
                )


def at(history: list[tuple[int, float, int, int]], epochs: int) -> tuple[int, float, int, int]:
    """The state of a study when it had spent at most so many epochs; before its first trial was
    over: no winner.
    """
    return max((item for item in history if item[0] <= epochs), default=(0, 1.0, 0, 0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["table", "replay", "samplers"])
    parser.add_argument("folder", type=Path, nargs="?", help="where the table's runs go")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "pruning.csv"
    )
    parser.add_argument("--studies", type=int, default=NUM_STUDIES)
    arguments = parser.parse_args()
    if arguments.what == "table":
        return train_table(arguments.folder.resolve())
    if arguments.what == "samplers":
        return compare_samplers(arguments.studies)
    curves = read_table()
    budgets = [EPOCHS * trainings for trainings in (5, 10, 15, 20)]
    rows = []
    for pruner in PRUNERS:
        most = budgets[-1] * (2 if pruner == "none" else 1)
        for seed in range(arguments.studies):
            history = replay(curves, pruner, seed, most)
            for budget in sorted(
                {*budgets, *(2 * item for item in budgets)} if pruner == "none" else budgets
            ):
                _, regret, num_trials, num_pruned = at(history, budget)
                rows.append([pruner, seed, budget, f"{regret:.6f}", num_trials, num_pruned])
        print(f"{arguments.studies} studies with pruner {pruner}", flush=True)
    with arguments.output.open("w", newline="") as file:
        header = ["pruner", "seed", "epochs", "regret", "trials", "pruned"]
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    regrets = {
        (row[0], row[2]): [float(r[3]) for r in rows if (r[0], r[2]) == (row[0], row[2])]
        for row in rows
    }
    print(
        f"{len(curves)} curves, best score {max(map(score, curves.values())):.2%};"
        f" {arguments.studies} studies each"
    )
    for budget in budgets:
        cells = [("none", budget), ("none", 2 * budget)]
        cells += [(name, budget) for name in PRUNERS if name != "none"]
        texts = [
            f"{name}@{epochs} {statistics.median(regrets[name, epochs]):.2%}"
            for name, epochs in cells
        ]
        print("median regret:", ", ".join(texts))


if __name__ == "__main__":
    main()
