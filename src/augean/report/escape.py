"""Escape text for LaTeX and Markdown, so that nothing in it is read as a command."""

import re

TEX_NAMES = {
    "\\": "backslash",
    "~": "asciitilde",
    "^": "asciicircum",
    "<": "less",
    ">": "greater",
    "|": "bar",
}
"""Characters that LaTeX writes by a command \\text...; here without "\\text"."""


def _tex_escapes() -> dict[str, str]:
    """Return the LaTeX of each character that LaTeX would read as something else."""
    escapes = {}
    for character, name in TEX_NAMES.items():
        escapes[character] = f"\\text{name}{{}}"
    for character in "&%$#_{}":
        escapes[character] = f"\\{character}"
    # After the end of a row (two backslashes) LaTeX reads these as its options.
    for character in "[]*":
        escapes[character] = f"{{{character}}}"
    return escapes | {"±": r"$\pm$", "\u2212": "$-$", "\u00a0": "~", '"': "''"}


TEX_ESCAPES = _tex_escapes()


def line(text: str) -> str:
    """Return text as one line, without control characters."""
    # A line break would end the paragraph or the cell that the text is set into.
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def latex(text: str) -> str:
    """Return plain text for LaTeX."""
    return "".join(TEX_ESCAPES.get(character, character) for character in line(text))


def markdown(text: str) -> str:
    """Return plain text for a Markdown table or paragraph."""
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", line(text))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
