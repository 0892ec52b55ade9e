"""Writes run directories and sweep records as a training would leave them, with invented but
plausible numbers.

    python tests/fake_runs.py <folder> [number of runs]

fills a folder with the examples that the report is looked at with, or with one sweep of many runs.
"""

import csv
import hashlib
import io
import json
import math
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from augean.datasets.digits import Digits
from augean.regular_files import digest_regular
from augean.store.files import json_digest, write_atomic
from augean.store.run_directory import runs_dir, write_metrics
from augean.store.summary import (
    Divergence,
    RunState,
    RunSummary,
    read_summary,
    write_summary,
)
from augean.store.sweep_record import SweepJob

DIGITS = [str(digit) for digit in range(10)]
VERSIONS = {"augean": "0.1.0", "python": "3.11.7", "torch": "2.14.1", "torchvision": "0.29.1"}
DATASET = {"dataset._target_": "augean.datasets.digits.Digits", "dataset.image_size": 16}
"""What says that the data of a run is as it was."""
REFERENCE = {
    "relu": {"test_accuracy": 81.22, "seconds": 1352},
    "leaky_relu": {"test_accuracy": 88.67, "seconds": 1267},
    "elu": {"test_accuracy": 82.64, "seconds": 1550},
}


def identity(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:10]


def write_run(
    outputs: Path,
    *,
    accuracy: float | None = None,
    state: str = "finished",
    seconds: float = 40.0,
    epochs: int = 10,
    row: str | None = None,
    device: str = "cpu (AMD EPYC)",
    versions: dict[str, str] | None = None,
    dataset_title: str = "digits",
    files: bool = True,
    **config: Any,
) -> dict[str, Any]:
    """Write one run directory and return its job for a sweep record.

    Args:
        accuracy: test accuracy as a fraction; by default drawn from the config's own generator.
        state: finished, diverged, interrupted, failed or missing; the last writes nothing.
        config: keys with `__` for the dot, such as `activation__name="elu"`.
    """
    flat = {
        "model.name": "resnet18",
        "model.stem": "cifar",
        "activation.name": "leaky_relu",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "regularization.weight_decay": 0.0,
        "width.channels": 16,
        "dataset.name": "digits",
        "dataset.mean": [0.5, 0.5, 0.5],
        "trainer.epochs": epochs,
        "trainer.batch_size": 64,
        "trainer.precision": "fp32",
        "seed": 0,
        **{key.replace("__", "."): value for key, value in config.items()},
    }
    id_ = identity(flat)
    name = "-".join(
        str(flat[f"{part}.name"]) for part in ("dataset", "model", "activation", "optimizer")
    )
    name = f"{name}-c{flat['width.channels']}-s{flat['seed']}-{id_}"
    job = {"id": id_, "run": name, "row": row or str(flat["activation.name"]), "seed": flat["seed"]}
    if state == "missing":
        return job
    path = runs_dir(outputs) / name
    path.mkdir(parents=True, exist_ok=True)
    generator = random.Random(id_)
    final = 0.9 + generator.gauss(0, 0.006) if accuracy is None else accuracy
    rows = metrics(
        generator, final, epochs if state == "finished" else max(1, epochs // 2), seconds / epochs
    )
    write_atomic(path / "config.yaml", "defaults: [augean, _self_]\n", sync=False)
    write_metrics(path, rows)
    if files:
        write_atomic(
            path / "model.json", json.dumps(resnet18(int(flat["width.channels"]))), sync=False
        )
    if state == "failed":
        write_atomic(path / "failure.txt", "out of memory\n", sync=False)
    if not RunState(state).is_completed:
        return job
    if state == "finished" and files:
        write_atomic(path / "confusion.csv", confusion(generator, final), sync=False)
        write_atomic(path / "correct.npy", correct(generator, final, num_test=300), sync=False)
    best = max(rows, key=lambda item: item["val_accuracy"])
    diverged = state == RunState.DIVERGED
    summary = RunSummary(
        schema=1,
        core=1,
        id=id_,
        status=RunState(state),
        diverged=Divergence(epoch=len(rows), step=120, last_loss=2.3) if diverged else None,
        config=DATASET | flat,
        dataset_title=dataset_title,
        num_train=1197,
        num_val=300,
        num_test=300,
        epochs=len(rows),
        selected_epoch=best["epoch"],
        val_accuracy=best["val_accuracy"],
        val_loss=best["val_loss"],
        train_accuracy=best["train_accuracy"],
        test_accuracy=None if diverged else final,
        test_loss=None if diverged else 0.2,
        seconds=seconds,
        train_seconds=0.95 * seconds,
        images_per_second=1234.5,
        parameters=701466,
        device=device,
        precision=flat["trainer.precision"],
        threads=2,
        instruction_set="AVX512",
        torch_settings={},
        dead_units=None if diverged else {f"stages.{number}.act": 0.0 for number in range(17)},
        data_digest=Digits.content,
        code_digests={},
        versions=versions or VERSIONS,
        host="host",
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
    )
    write_summary(path, summary)
    return job


def metrics(
    generator: random.Random, final: float, epochs: int, seconds: float
) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, epochs + 1):
        rise = 1 - math.exp(-4 * epoch / epochs - 0.3)
        val = min(
            1.0, max(0.0, 0.1 + (final - 0.1) * rise + generator.gauss(0, 0.02) * (1.1 - rise))
        )
        train = min(1.0, 0.1 + (min(1.0, final + 0.05) - 0.1) * rise)
        rows.append(
            {
                "epoch": epoch,
                "lr": 0.1,
                "train_loss": 2.3 * (1 - rise) + 2.5 * (1 - min(1.0, final + 0.05)) * rise + 0.02,
                "train_accuracy": train,
                "val_loss": 2.4 * (1 - rise)
                + 3 * (1 - final) * rise
                + abs(generator.gauss(0, 0.05)),
                "val_accuracy": val,
                "seconds": seconds * generator.uniform(0.95, 1.05),
                "images_per_second": 1200.0,
            }
        )
    return rows


def confusion(generator: random.Random, final: float, classes: Sequence[str] = DIGITS) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true", *classes])
    for index, name in enumerate(classes):
        counts = [0] * len(classes)
        for _ in range(30):
            counts[index if generator.random() < final else generator.randrange(len(classes))] += 1
        writer.writerow([name, *counts])
    return text.getvalue()


def correct(generator: random.Random, final: float, num_test: int) -> bytes:
    content = io.BytesIO()
    is_right = [generator.random() < final for _ in range(num_test)]
    numpy.save(content, numpy.packbits(is_right))
    return content.getvalue()


def resnet18(channels: int, size: int = 16) -> dict[str, Any]:
    """Modules as forward hooks see them: containers before what they hold."""
    modules: list[dict[str, Any]] = []

    def add(name: str, kind: str, output: list[int], parameters: int) -> None:
        modules.append(
            {
                "name": name,
                "type": kind,
                "depth": name.count(".") + 1,
                "output": output,
                "parameters": parameters,
            }
        )

    shape = [channels, size, size]
    add("stem", "Sequential", shape, 29 * channels)
    add("stem.0", "Conv2d", shape, 27 * channels)
    add("stem.1", "BatchNorm2d", shape, 2 * channels)
    add("stem.2", "LeakyReLU", shape, 0)
    total, before = 29 * channels, channels
    for stage in range(4):
        width, side = channels * 2**stage, size // 2**stage
        shape = [width, side, side]
        add(f"stages.{stage}", "Sequential", shape, 0)
        for block in range(2):
            own = (
                9 * before * width
                + 9 * width**2
                + 4 * width
                + (before * width + 2 * width if before != width else 0)
            )
            add(f"stages.{stage}.{block}", "BasicBlock", shape, own)
            add(f"stages.{stage}.{block}.conv1", "Conv2d", shape, 9 * before * width)
            add(f"stages.{stage}.{block}.activation", "LeakyReLU", shape, 0)
            total, before = total + own, width
    add("pool", "AdaptiveAvgPool2d", [before, 1, 1], 0)
    add("flatten", "Flatten", [before], 0)
    add("linear", "Linear", [10], 10 * before + 10)
    return {
        "name": "resnet18",
        "parameters": total + 10 * before + 10,
        "input": [3, size, size],
        "modules": modules,
    }


def trial_job(
    number: int, score: float | None, state: str = "complete", **changes: Any
) -> SweepJob:
    """A trial of a study, as its record has it."""
    job = SweepJob(
        id=f"{number:010x}",
        run=f"run-{number:010x}",
        row=f"trial {number}",
        seed=0,
        trial=number,
        state=state,
        score=score,
    )
    return replace(job, **changes)


def write_record(outputs: Path, name: str, jobs: Sequence[dict[str, Any]], **more: Any) -> None:
    content = {
        "schema": 1,
        "name": name,
        "kind": "grid",
        "title": name,
        "figure": None,
        "note": None,
        "command": f"python train.py -cd sweeps -cn {name}",
        "created": "2026-01-01T00:00:00+00:00",
        "overrides": [],
        "row_key": None,
        "baseline": None,
        "reference": {},
        "jobs": list(jobs),
        **more,
    }
    (outputs / "sweeps").mkdir(parents=True, exist_ok=True)
    write_atomic(outputs / "sweeps" / f"{name}.json", json.dumps(content), sync=False)


def write_scores(outputs: Path, rows: dict[str, list[float]], **record: Any) -> None:
    """Write a table `one`: a run for each score in percent of each row, with seeds from 0 on.

    Args:
        record: entries of the sweep record; its baseline is the row `base`.
    """
    jobs = []
    for row, scores in rows.items():
        for seed, score in enumerate(scores):
            job = write_run(
                outputs,
                accuracy=score / 100,
                row=row,
                seed=seed,
                activation__name=row,
                files=False,
                epochs=2,
            )
            jobs.append(job)
    write_record(outputs, "one", jobs, **{"title": "Activation", "baseline": "base"} | record)


def write_examples(outputs: Path) -> None:
    """A folder with every kind of table, run and flaw that the page has to show."""
    activations = [
        write_run(
            outputs,
            activation__name=name,
            seed=seed,
            accuracy=mean + 0.004 * (seed - 1.5),
            seconds=speed,
        )
        for name, mean, speed in (
            ("relu", 0.921, 41),
            ("leaky_relu", 0.917, 40),
            ("elu", 0.874, 52),
        )
        for seed in range(5)
    ]
    write_record(
        outputs,
        "table1_activation",
        activations,
        title="Table 1: activation",
        figure="Figure 2",
        row_key="activation.name",
        baseline="leaky_relu",
        reference=REFERENCE,
        reference_dataset="digits",
        overrides=["experiment=demo"],
        command="python train.py -cd sweeps -cn table1_activation experiment=demo",
        note="The published numbers are for CIFAR-10.",
    )
    widths = [
        write_run(
            outputs,
            width__channels=c,
            seed=seed,
            seconds=12.0 * c / 8,
            accuracy=acc + 0.006 * seed,
            row=str(c),
            epochs=10,
        )
        for c, acc in ((8, 0.87), (16, 0.91), (32, 0.93))
        for seed in range(2)
    ]
    write_record(
        outputs,
        "table3_width",
        widths,
        title="Table 3: channels C",
        figure="Figure 4",
        row_key="width.channels",
        baseline="16",
    )
    optimizers = []
    for name, mean, spread, speed, states in (
        ("sgd", 0.917, 0.004, 40, ["finished"] * 3),
        ("adam", 0.62, 0.05, 55, ["finished"] * 3),
        ("adagrad", 0.1, 0.0, 44, ["finished"] * 3),
        ("rmsprop", 0.41, 0.03, 47, ["finished", "diverged", "finished"]),
        ("adamw", 0.9, 0.01, 56, ["finished", "failed", "missing"]),
        ("lion", 0.9, 0.01, 56, ["missing", "missing", "interrupted"]),
    ):
        for seed, state in enumerate(states):
            optimizers.append(
                write_run(
                    outputs,
                    optimizer__name=name,
                    seed=seed,
                    row=name,
                    state=state,
                    accuracy=mean + spread * (seed - 1),
                    seconds=speed,
                    device="NVIDIA H200" if name == "adam" and seed else "cpu (AMD EPYC)",
                )
            )
    write_record(
        outputs,
        "table4_optimizer",
        optimizers,
        title="Table 4: optimizer",
        figure="Figure 5",
        row_key="optimizer.name",
        baseline="sgd",
    )
    final = write_run(
        outputs,
        epochs=30,
        seconds=310.0,
        accuracy=0.953,
        row="final",
        regularization__weight_decay=1e-4,
    )
    write_record(
        outputs,
        "final",
        [final],
        title="Final model",
        figure="Figures 6 and 7",
        reference={"final": {"test_accuracy": 95.09}},
    )
    write_record(outputs, "empty", [], title="A sweep without jobs")
    write_run(outputs, seed=77, accuracy=0.9)


def write_many(
    outputs: Path, num_runs: int, *, epochs: int = 35, seeds: int = 10, tables: int = 20
) -> None:
    """`num_runs` runs of `epochs` epochs in `tables` sweeps, `seeds` to a row."""
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]  # ten thousand waits for the disk
    jobs: list[list[dict[str, Any]]] = [[] for _ in range(tables)]
    for index in range(num_runs):
        row, seed = divmod(index, seeds)
        rate = 0.1 * 0.999**row
        job = write_run(
            outputs, epochs=epochs, seed=seed, optimizer__lr=rate, row=f"{rate:g}", files=False
        )
        jobs[row % tables].append(job)
    for number, own in enumerate(jobs):
        write_record(
            outputs, f"sweep{number:02d}", own, row_key="optimizer.lr", baseline=own[0]["row"]
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the locks, which the operating system frees and nobody
    reads.
    """
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".flock")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sign(path: Path, **changes: Any) -> None:
    """Make the summary one of the files as they are, with `changes` of its own entries."""
    summary = read_summary(path)
    assert summary is not None
    write_summary(path, replace(summary, **changes))


def forge(path: Path, **changes: Any) -> None:
    """Sign summary.json as a stranger would, whatever it holds after `changes` of its entries."""
    content = json.loads((path / "summary.json").read_text()) | changes
    for name in content["files"]:
        if (path / name).exists():
            content["files"][name] = digest_regular(path / name)
    content["sha256"] = json_digest(content)
    (path / "summary.json").write_text(json.dumps(content))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        write_many(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        write_examples(Path(sys.argv[1]))
