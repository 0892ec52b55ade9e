"""Reads the runs that a report's page holds."""

import json
import re
from pathlib import Path
from typing import Any


def page_data(report: Path) -> dict[str, Any]:
    """The JSON in index.html of a report's folder."""
    page = (report / "index.html").read_text()
    (text,) = re.findall(r'<script type="application/json" id="run-data">(.*?)</script>', page)
    data: dict[str, Any] = json.loads(text)
    return data


def page_commands(report: Path) -> dict[str, str]:
    """What trains each run again, by run id, put together as the page does."""
    data = page_data(report)
    commands = {}
    for id_, pattern in zip(data["id"], data["command"]["of"], strict=True):
        commands[id_] = id_.join(data["command"]["values"][pattern])
    return commands


def page_curve(data: dict[str, Any], id_: str) -> tuple[list[int], list[float]]:
    """Epochs and validation accuracies in percent of a run."""
    place = data["id"].index(id_)
    values = running_sum(data["curves"][place])
    steps = data["epochs"].get(str(place), [1] * len(values))
    return running_sum(steps), [value / 100 for value in values]


def running_sum(changes: list[int]) -> list[int]:
    sums = []
    total = 0
    for change in changes:
        total += change
        sums.append(total)
    return sums
