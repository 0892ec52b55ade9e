"""Say what to type in place of a value that its key does not take."""

import re

from omegaconf.errors import ValidationError

OMEGACONF_TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
"""Names of types in messages, by those of OmegaConf."""
MOST_LISTED = 10
"""Values that a hint lists one by one."""


def hydra_value_message(cause: ValidationError, word: str) -> str:
    """Return the message for a wrong value of one of Hydra's own keys, which our schema lacks.

    Args:
        word: of the command line; the key alone for a value from a file.
    """
    place = word if "=" in word else f"{word}={cause.value}"
    match = re.search(r"could not be converted to (\w+)", str(cause))
    if match is None or match[1] not in OMEGACONF_TYPES:
        first_line = str(cause).split("\n")[0]
        return f"{place}: {first_line}"
    return f"{place}: must be {OMEGACONF_TYPES[match[1]]}"


def sweep_hint(key: str, annotation: object, value: str, *, is_sweep: bool) -> str:
    """Return how several values are written, where a value looks like several.

    These are `[0,1]`, and of whole numbers `0..2`, `0-2` and `0:2`.

    Args:
        annotation: type of the key.
        is_sweep: whether the command line has `-m` already.
    """
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
    if last - first < MOST_LISTED:
        return ",".join(str(number) for number in range(first, last + 1))
    return f"range({first},{last + 1})"
