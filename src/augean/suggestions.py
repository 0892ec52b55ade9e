"""Suggest the name that someone may have meant."""

import difflib
from collections.abc import Sequence


def closest(word: str, choices: Sequence[str]) -> list[str]:
    """The choice that begins with the word or is most like it, whatever its case; empty where none
    is.
    """
    lower = {choice.lower(): choice for choice in choices}
    begins = [choice for choice in lower if word and choice.startswith(word.lower())]
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return [lower[choice] for choice in (begins[:1] or near)]


def list_choices(word: str, choices: Sequence[str], prefix: str) -> str:
    """What someone may have meant of the choices, and all of them."""
    meant = did_you_mean([prefix + choice for choice in closest(word, choices)])
    return f"{meant or '.'} There are {', '.join(choices) or 'none'}"


def did_you_mean(texts: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(texts)}?" if texts else ""
