"""Check plain values from JSON: each function returns the value, or raises what it must be."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn


class WrongValue(Exception):
    """A value is wrong; the text says what it must be."""


def refuse(expected: str) -> NoReturn:
    raise WrongValue(expected)


def check_text(value: Any) -> str:
    if not isinstance(value, str):
        refuse("text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot hold
        refuse("text in valid Unicode")
    return value


def check_number(value: Any) -> float:
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


def check_count(value: Any) -> int:
    number = check_number(value)
    if number < 0 or not number.is_integer():
        refuse("a whole number, 0 or more")
    return int(value)


def check_fraction(value: Any) -> float:
    number = check_number(value)
    if not 0 <= number <= 1:
        refuse("a fraction from 0 to 1")
    return number


def check_plain(value: Any) -> Any:
    """Return a value as JSON would return it: tuples as lists, keys as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return check_number(value)
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, list | tuple):
        return [check_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {check_text(str(key)): check_plain(item) for key, item in value.items()}
    refuse("plain: text, a number, or lists and mappings of them")


def check_mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        refuse("a mapping")
    content: dict[str, Any] = check_plain(value)
    return content


def check_texts(value: Any) -> dict[str, str]:
    return {name: check_text(text) for name, text in check_mapping(value).items()}


def check_fractions(value: Any) -> dict[str, float]:
    return {name: check_fraction(share) for name, share in check_mapping(value).items()}
