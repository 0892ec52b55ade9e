"""Read how much may be spent: a number with a unit, such as `30runs` or `1.5h`."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from augean.errors import AugeanError, ConfigError

Unit = Literal["runs", "clock seconds", "device seconds"]
"""What a budget counts; device seconds are the sum over runs, which may train at once."""
UNITS: dict[str, tuple[Unit, int]] = {
    "run": ("runs", 1),
    "runs": ("runs", 1),
    "s": ("clock seconds", 1),
    "min": ("clock seconds", 60),
    "h": ("clock seconds", 3600),
    "gpuh": ("device seconds", 3600),
}
"""Units in which a budget may be written: what each counts, and its size in that."""


@dataclass(frozen=True)
class Budget:
    """What may be spent."""

    amount: float
    unit: Unit


def read_budget(text: str | None) -> Budget:
    """Read a budget such as `30runs` or `1.5h`; None is endless.

    Raises:
        AugeanError: when it is not understood.
    """
    if text is None:
        return Budget(amount=math.inf, unit="runs")
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(\w+)", text, re.ASCII)
    if match is None or match[2] not in UNITS:
        raise AugeanError(
            f"--budget {text}: needs a number and one of runs, s, min, h, gpuh, such as 1.5h"
        )
    unit, size = UNITS[match[2]]
    return Budget(amount=float(match[1]) * size, unit=unit)


def read_timeout(value: object) -> float:
    """Read `hydra.sweeper.timeout`: a number of seconds, or text such as `90min`; None is endless.

    Raises:
        ConfigError: when it is not understood, or not above 0.
    """
    if value is None:
        return math.inf
    wrong = ConfigError(
        f"hydra.sweeper.timeout={value}: must be seconds above 0, or such as 90min or 1.5h"
    )
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", str(value), re.ASCII)
    if match is None:
        raise wrong
    # Without a unit these are seconds.
    unit, size = UNITS.get(match[2] or "s", (None, 0.0))
    seconds = float(match[1]) * size
    if unit != "clock seconds" or seconds == 0:
        raise wrong
    return seconds
