"""Suggest a valid name for a mistyped one."""

import difflib
from collections.abc import Sequence

from augean.errors import AugeanError


def closest(word: str, choices: Sequence[str]) -> list[str]:
    """Return the first choice that begins with the word, else the most similar one.

    Case does not count. The list has one name, or none where no choice is similar.
    """
    by_lower_case = {choice.lower(): choice for choice in choices}
    if word:
        for lower, choice in by_lower_case.items():
            if lower.startswith(word.lower()):
                return [choice]
    # difflib's own default: at 0.6 two letters of five may be wrong.
    similar = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return [by_lower_case[lower] for lower in similar]


def list_choices(word: str, choices: Sequence[str], prefix: str) -> str:
    """Return the end of a message: a suggestion for a word, and all choices.

    Args:
        prefix: put before the suggestion, such as `model=`.
    """
    suggestion = did_you_mean([prefix + choice for choice in closest(word, choices)])
    return f"{suggestion or '.'} There are {', '.join(choices) or 'none'}"


def choose_by_name(
    name: str, names: Sequence[str], things: str, *, prefix: str = "", remarks: Sequence[str] = ()
) -> str:
    """Return the one of `names` that is `name`, else the only one that begins with it.

    Args:
        things: what has the names and where, for the message, such as `studies in outputs`.
        prefix: put before the names in the message, such as `best:`.
        remarks: lines for the end of the message.

    Raises:
        AugeanError: when none of the names fits, or several do.
    """
    # A complete name counts more than the beginning of several.
    if name in names:
        return name
    matches = [item for item in names if item.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    number = "several" if matches else "none"
    choices = list_choices(name, matches or names, prefix)
    message = f"{prefix}{name}: names {number} of the {things}{choices}"
    raise AugeanError("\n".join([message, *remarks]))


def did_you_mean(texts: Sequence[str]) -> str:
    """Return the end of a message that suggests these; empty where there are none."""
    if not texts:
        return ""
    return f"; did you mean {' or '.join(texts)}?"
