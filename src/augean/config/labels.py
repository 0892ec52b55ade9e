"""Write config values as rows of a table."""

from typing import Any

FEWEST_DIGITS = 6
"""Significant digits of a label, where they tell the number."""
MOST_DIGITS = 17
"""Significant digits with which no two floats share a text."""
LARGEST_WHOLE = 1e15
"""Whole numbers below it are written with all of their digits, whatever their type is."""


def row_label(value: Any) -> str:
    """Return a config value as a table row: `0.0001` for 1e-4, `0` for 0.0.

    Different numbers have different labels.
    """
    if isinstance(value, float):
        return _number_text(value)
    if isinstance(value, str):
        try:
            return str(int(value)) if value.isdecimal() else _number_text(float(value))
        except ValueError:
            return value
    return str(value)


def _number_text(number: float) -> str:
    """Return the shortest text of at least six significant digits that is this number."""
    if number.is_integer() and abs(number) < LARGEST_WHOLE:
        return str(int(number))
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        text = f"{number:.{digits}g}"
        if float(text) == number:
            return text
    return f"{number:.{MOST_DIGITS}g}"
