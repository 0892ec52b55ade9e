"""Set plain text into LaTeX and Markdown, where it stays text whatever is in it."""

import re

TEX_NAMES = {
    "\\": "backslash",
    "~": "asciitilde",
    "^": "asciicircum",
    "<": "less",
    ">": "greater",
    "|": "bar",
}
"""Characters that LaTeX has a command for, without its first part."""


def _tex_escapes() -> dict[str, str]:
    """Return what stands in LaTeX for each character that is not itself there."""
    escapes = {character: f"\\text{name}{{}}" for character, name in TEX_NAMES.items()}
    for character in "&%$#_{}":
        escapes[character] = f"\\{character}"
    # After the end of a row these would be its options.
    for character in "[]*":
        escapes[character] = f"{{{character}}}"
    return escapes | {"±": r"$\pm$", "\u2212": "$-$", "\u00a0": "~", '"': "''"}


TEX_ESCAPES = _tex_escapes()


def line(text: str) -> str:
    """Return text as one line, without control characters.

    What stands after a break would no longer be text.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def latex(text: str) -> str:
    """Return plain text for LaTeX."""
    return "".join(TEX_ESCAPES.get(character, character) for character in line(text))


def markdown(text: str) -> str:
    """Return plain text for a Markdown table or paragraph."""
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", line(text))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")
