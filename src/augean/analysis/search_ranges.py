"""Read which numbers a study searched, from the text of its search space."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LARGEST = 1e100
"""Numbers beyond it have no place on an axis, whose margins would overflow."""
SMALLEST = 1e-100
"""The same for the lower end of a logarithmic range."""
NARROWEST = 1e-9
"""Width of a range, as a share of its larger end, that an axis needs to tell values apart."""
LOGARITHMIC_FROM = 100
"""Ratio of the largest number to the smallest from which on unrecorded ranges are drawn on a
logarithmic scale."""
_INTERVAL = re.compile(r"\binterval\((?:start=)?([^,()]+),(?:end=)?([^,()]+)\)")
_STEPS = re.compile(r"\brange\(([^()]+)\)")
_NAMES_RANGE = re.compile(r"\b(interval|range)\(")
_LOGARITHMIC = re.compile(r"^tag\((?:[^()]*,)?log,")


@dataclass(frozen=True)
class Range:
    """A searched range of numbers."""

    low: float
    high: float
    is_log: bool
    """Whether it was searched on a logarithmic scale."""
    step: float | None = None
    """Distance of the values that were searched; None where all between the ends were."""
    is_recorded: bool = True
    """Whether the study's record has it; else it is that of the values which trials had."""

    @property
    def num_values(self) -> float:
        """How many values were searched; infinite without a step."""
        if self.step is None:
            return math.inf
        return 1 + round((self.high - self.low) / self.step)

    def nearest(self, value: float) -> float:
        """Return the value itself, or the end that it lies beyond.

        The default configuration, which a study may try first, need not lie in the range.
        """
        return min(max(float(value), self.low), self.high)

    def position(self, value: float) -> float:
        """Return where in the range a value lies: 0 at its lower end, 1 at its upper one."""
        inside = self.nearest(value)
        if self.is_log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)


def searched_range(text: str) -> Range | None:
    """Return the range that a search space's text names; None for a list of choices.

    Args:
        text: as typed in the sweep, such as `tag(log, interval(1e-3, 1.0))` or `range(8, 33, 8)`.
    """
    dense = text.replace(" ", "")
    try:
        searched = _interval(dense) or _steps(dense)
    # Not numbers, or steps of which there are none or endlessly many.
    except (ValueError, ArithmeticError):
        return None
    if searched is None or not _is_sound(searched):
        return None
    return searched


def range_of(text: str | None, values: Sequence[Any]) -> Range | None:
    """Return the range that a parameter's values are drawn in; None where they are choices.

    Where the range is not recorded, or is none that can be drawn, it is that of the values.

    Args:
        text: of the search space; None for values that a custom search-space function drew.
        values: those that trials had.
    """
    if not all(is_number(value) for value in values):
        return None
    if text is None:
        return _observed_range(values)
    searched = searched_range(text)
    if searched is None and _NAMES_RANGE.search(text):
        return _observed_range(values)
    return searched


def _observed_range(values: Sequence[float]) -> Range | None:
    """Return the range from the smallest to the largest of some numbers.

    It is logarithmic where they are positive and far apart. None where an axis could not tell them
    apart.
    """
    low = float(min(values))
    high = float(max(values))
    is_log = low >= SMALLEST and high / low >= LOGARITHMIC_FROM
    searched = Range(low=low, high=high, is_log=is_log, is_recorded=False)
    return searched if _is_sound(searched) else None


def is_number(value: Any) -> bool:
    """Tell whether a value of a trial is a number that fits on an axis, which `true` does not."""
    is_numeric = isinstance(value, int | float) and not isinstance(value, bool)
    # False for what is not a number, too.
    return is_numeric and -LARGEST <= value <= LARGEST


def _interval(dense: str) -> Range | None:
    """Return the range of an interval."""
    match = _INTERVAL.search(dense)
    if match is None:
        return None
    is_log = _LOGARITHMIC.search(dense) is not None
    return Range(low=float(match[1]), high=float(match[2]), is_log=is_log)


def _steps(dense: str) -> Range | None:
    """Return the range of evenly spaced numbers, whose stop is not among them."""
    match = _STEPS.search(dense)
    if match is None:
        return None
    names = ["start", "stop", "step"]
    arguments = match[1].split(",")
    if len(arguments) == 1:
        names = ["stop"]
    numbers = {"start": 0.0, "step": 1.0}
    for name, argument in zip(names, arguments, strict=False):
        typed_name, _, typed = argument.rpartition("=")
        numbers[typed_name or name] = float(typed)
    if "stop" not in numbers:
        return None
    start = numbers["start"]
    step = numbers["step"]
    # Rounded, as 0.1 + 0.1 + 0.1 is a little more than 0.3.
    num_steps = math.ceil(round((numbers["stop"] - start) / step, 6)) - 1
    last = start + num_steps * step
    return Range(low=min(start, last), high=max(start, last), is_log=False, step=abs(step))


def _is_sound(searched: Range) -> bool:
    """Tell whether a range can be drawn; a record may hold any text."""
    if not -LARGEST <= searched.low < searched.high <= LARGEST:
        return False
    if searched.is_log and searched.low < SMALLEST:
        return False
    largest = max(abs(searched.low), abs(searched.high))
    return searched.high - searched.low >= NARROWEST * largest
