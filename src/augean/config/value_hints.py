"""Say what to type in place of a value that its key does not take."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, Field
from typing import Any

from omegaconf.errors import ValidationError

from augean.config.validation import choices_of, long_number_text, schema_fields

TYPE_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "keys with values",
    "str": "text",
}
"""Names of the schema's types in messages, by the first word of an annotation."""
EXAMPLE_VALUES = {"int": "10", "float": "0.1", "dict": "{key:1}"}
"""Values for messages, by type, where the key's default is not an example."""
OMEGACONF_TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
"""Names of types in messages, by those of OmegaConf."""
MAX_LISTED = 10
"""Most values that a hint lists one by one."""


def long_number_message(words: Sequence[str]) -> str:
    """Name the argument with a whole number that is too large for a float."""
    for word in words:
        key, _, value = word.partition("=")
        if match := re.search(r"\d{17,}", value):
            return f"{key}: {long_number_text(match[0])}"
    return "a whole number in the config file is too large for a float; write it as 1e20"


def hydra_value_message(cause: ValidationError, word: str) -> str:
    """Return the message for a wrong value of one of Hydra's own keys.

    They are not in Augean's schema, so the type that the key takes is read from OmegaConf's text.

    Args:
        word: of the command line; the key alone for a value from a file.
    """
    place = word if "=" in word else f"{word}={cause.value}"
    match = re.search(r"could not be converted to (\w+)", str(cause))
    if match is None or match[1] not in OMEGACONF_TYPES:
        first_line = str(cause).split("\n")[0]
        return f"{place}: {first_line}"
    return f"{place}: must be {OMEGACONF_TYPES[match[1]]}"


def describe_values(key: str, item: "Field[Any]", value: str) -> str:
    """Return which values a key takes, for example `a number, such as optimizer.lr=0.1`.

    Args:
        value: the wrong value, as the user typed it.
    """
    # "list[float]" -> "list", "float | None" -> "float"
    type_name = re.split(r"\W", str(getattr(item.type, "__name__", item.type)))[0]
    choices = choices_of(key)
    # A list without brackets is a mistake of type, whatever its items are.
    is_wrong_choice = type_name != "list" or value.startswith("[")
    if choices and is_wrong_choice:
        return f"one of {', '.join(choices)}"
    description = TYPE_NAMES.get(type_name, type_name)
    example = _example_value(item, type_name, value)
    return f"{description}, such as {key}={example}" if example else description


def _example_value(item: "Field[Any]", type_name: str, value: str) -> str:
    """Return a valid value for a message; empty where there is no good one."""
    default = item.default
    if item.default_factory is not MISSING:
        default = item.default_factory()
    # An empty list is a poor example: show the typed value in brackets instead.
    if default == []:
        return f"[{value}]"
    if default in (None, "???", {}):
        return EXAMPLE_VALUES.get(type_name, "")
    # As on a command line: [0.5,4.0] without blanks, true in lower case.
    return str(default).replace(" ", "").lower()


def function_message(word: str, cause: BaseException | None) -> str | None:
    """Return the message for a function of Hydra's, such as `choice()`, with wrong arguments.

    Args:
        word: the override.
        cause: of Hydra's exception; another kind than these means that there is no such function.

    Returns:
        None for a value that is no function.
    """
    match = re.search(r"=(\w+)\(.*\)$", word)
    if match is None or not isinstance(cause, TypeError | ValueError):
        return None
    reason = str(cause).split("\n")[0]
    return (
        f"{word}: the function {match[1]} does not take that ({reason}); values are written a,b or"
        " choice(a,b) or range(0,10), and in a study interval(0.1,1) or tag(log,interval(0.1,1))"
    )


def deletion_message(word: str) -> str:
    """Return the message for the deletion of a key that every config has, such as `~seed`."""
    key = word.lstrip("~").partition("=")[0]
    item = schema_fields().get(key)
    is_nullable = item is not None and "None" in str(item.type)
    fix = f"write {key}=null" if is_nullable else "give it another value"
    return f"{word}: is a key that every config has; {fix}"


def several_values_message(word: str, takes_sweep: bool, *, prints_config: bool) -> str:
    """Return the message for an override with several values, such as `seed=0,1`, without `-m`.

    Args:
        takes_sweep: whether `-m` is an option here.
        prints_config: whether the command line has `--cfg`.
    """
    if prints_config:
        return f"{word}: --cfg prints the config of one run; give one value"
    if not takes_sweep:
        return f"{word}: is a sweep, and this takes one run; give one value, or a list as key=[a,b]"
    return (
        f"{word}: several values are a sweep: add -m, as in -m {word}; one list is written"
        " key=[a,b]"
    )


def sweep_hint(key: str, annotation: object, value: str, *, is_sweep: bool) -> str:
    """Return how several values are written, where a value looks like several.

    These are `[0,1]`, and of whole numbers `0..2`, `0-2` and `0:2`.

    Args:
        annotation: type of the key.
        is_sweep: whether the command line has `-m` already.
    """
    # A list is one value of such a key.
    if str(annotation).startswith(("list", "dict")):
        return ""
    values = ""
    if match := re.fullmatch(r"[\[({](.*,.*)[\])}]", value):
        values = match[1].replace(" ", "")
    elif match := re.fullmatch(r"(\d+)(?:\.{2,3}|-|:)(\d+)", value):
        values = _between(int(match[1]), int(match[2]))
    if not values:
        return ""
    option = "" if is_sweep else "-m "
    return f"; several values are a sweep: {option}{key}={values}"


def _between(first: int, last: int) -> str:
    """Return the whole numbers from the first to the last as a sweep; empty where there are
    none.
    """
    if first >= last:
        return ""
    if last - first < MAX_LISTED:
        return ",".join(str(number) for number in range(first, last + 1))
    return f"range({first},{last + 1})"
