"""Check the types of values that come from a file.

Each `as_<type>` returns the value, or raises `WrongValueError` with what the value must be.
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_AMOUNT = 1e15
"""Largest amount of seconds, images or bytes that is believed, far above all that computers do."""


class WrongValueError(Exception):
    """A value has a wrong type or is out of range; the text says what it must be."""


def refuse(expected: str) -> NoReturn:
    """Refuse a value; `expected` says what it must be."""
    raise WrongValueError(expected)


def as_text(value: Any) -> str:
    """Return text that can be written as UTF-8."""
    if not isinstance(value, str):
        refuse("text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot hold
        refuse("text in valid Unicode")
    return value


def as_number(value: Any) -> float:
    """Return a finite number."""
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("a number")
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have no limit
        number = math.inf
    if not math.isfinite(number):
        refuse("a finite number")
    return number


def as_amount(value: Any) -> float:
    """Return a number from 0 to `MAX_AMOUNT`, such as seconds."""
    number = as_number(value)
    if not 0 <= number <= MAX_AMOUNT:
        refuse(f"a number from 0 to {MAX_AMOUNT:g}")
    return number


def as_count(value: Any) -> int:
    """Return a whole number from 0 to `MAX_AMOUNT`."""
    number = as_number(value)
    if number < 0 or not number.is_integer():
        refuse("a whole number, 0 or more")
    if number > MAX_AMOUNT:
        refuse(f"a whole number up to {MAX_AMOUNT:g}")
    return int(value)


def as_fraction(value: Any) -> float:
    """Return a number from 0 to 1."""
    number = as_number(value)
    if not 0 <= number <= 1:
        refuse("a fraction from 0 to 1")
    return number


def as_plain(value: Any) -> Any:
    """Return a value as JSON would return it: tuples as lists, keys as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        as_number(value)
        return value
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {as_text(str(key)): as_plain(item) for key, item in value.items()}
    refuse("plain: text, a number, or lists and mappings of them")


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping of plain values."""
    if not isinstance(value, Mapping):
        refuse("a mapping")
    content: dict[str, Any] = as_plain(value)
    return content


def as_texts(value: Any) -> dict[str, str]:
    """Return a mapping of texts."""
    return {name: as_text(item) for name, item in as_mapping(value).items()}


def as_fractions(value: Any) -> dict[str, float]:
    """Return a mapping of fractions."""
    return {name: as_fraction(share) for name, share in as_mapping(value).items()}
