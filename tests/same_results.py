"""Compare what two trainings of the same run left."""

import csv
import json
from pathlib import Path


def metrics(
    path: Path, *, without: tuple[str, ...] = ("seconds", "images_per_second")
) -> list[dict[str, str]]:
    with (path / "metrics.csv").open() as file:
        return [
            {key: value for key, value in row.items() if key not in without}
            for row in csv.DictReader(file)
        ]


def same_result(one: Path, other: Path) -> bool:
    first, second = (json.loads((path / "summary.json").read_text()) for path in (one, other))
    scores = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "selected_epoch", "epochs")
    return (
        metrics(one) == metrics(other)
        and {**first["files"], "metrics.csv": ""} == {**second["files"], "metrics.csv": ""}
        and all(first[name] == second[name] for name in scores)
    )
