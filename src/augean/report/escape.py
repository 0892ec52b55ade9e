"""Escape text for LaTeX and Markdown, so that nothing in it is read as a command."""

import re
import unicodedata

TEX_NAMES = {
    "\\": "backslash",
    "~": "asciitilde",
    "^": "asciicircum",
    "<": "less",
    ">": "greater",
    "|": "bar",
}
"""Characters that LaTeX writes by a command \\text...; here without "\\text"."""


GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi",
    "omega",
]  # fmt: skip
"""The letters by their names in LaTeX, which has no command for those that look like Latin ones."""
LATIN_CAPITALS = {
    "alpha": "A", "beta": "B", "epsilon": "E", "zeta": "Z", "eta": "H", "iota": "I", "kappa": "K",
    "mu": "M", "nu": "N", "omicron": "O", "rho": "P", "tau": "T", "upsilon": "Y", "chi": "X",
}  # fmt: skip
"""Greek capitals that look like Latin ones."""
TEX_SIGNS = {
    "±": r"\pm", "\u2212": "-", "×": r"\times", "÷": r"\div", "·": r"\cdot", "≤": r"\le",
    "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "∼": r"\sim", "∞": r"\infty", "√": r"\surd",
    "∑": r"\sum", "∏": r"\prod", "∂": r"\partial", "∇": r"\nabla", "∈": r"\in", "→": r"\to",
    "←": r"\leftarrow", "↔": r"\leftrightarrow", "⇒": r"\Rightarrow", "↑": r"\uparrow",
    "↓": r"\downarrow", "✓": r"\surd", "✔": r"\surd", "✗": r"\times", "✘": r"\times",
    "★": r"\star", "∗": r"\ast", "ϵ": r"\epsilon", "ϕ": r"\phi", "ς": r"\varsigma",
}  # fmt: skip
"""The command of each sign in LaTeX's mathematics, without any package."""
T1_LETTERS = "«»ÐðÞþĄąĐđĘęĮįŊŋŲų„"
"""Letters that pdflatex has only in the font encoding T1."""
TEX_LETTERS = re.compile("[\\x20-\\x7e\\xa0-ĥĨ-ķĹ-ľŁ-ňŊ-ťŨ-ž–—‘’“”„†‡•…‰€™]")
"""What pdflatex sets as it is: Latin letters with accents, and the signs of Western text."""


def _tex_escapes() -> dict[str, str]:
    """Return the LaTeX of each character that LaTeX would read as something else."""
    escapes = {"\u00a0": "~", '"': "''"}
    for character, name in TEX_NAMES.items():
        escapes[character] = f"\\text{name}{{}}"
    for character in "&%$#_{}":
        escapes[character] = f"\\{character}"
    # After the end of a row (two backslashes) LaTeX reads these as its options.
    for character in "[]*":
        escapes[character] = f"{{{character}}}"
    for character, command in TEX_SIGNS.items():
        escapes[character] = f"${command}$"
    return escapes | _tex_greek()


def _tex_greek() -> dict[str, str]:
    """Return the LaTeX of the Greek letters without accents."""
    escapes = {}
    for name in GREEK:
        # Unicode spells one of them otherwise.
        letter = "lamda" if name == "lambda" else name
        small = unicodedata.lookup(f"GREEK SMALL LETTER {letter}")
        capital = unicodedata.lookup(f"GREEK CAPITAL LETTER {letter}")
        escapes[small] = "o" if name == "omicron" else f"$\\{name}$"
        escapes[capital] = LATIN_CAPITALS.get(name, f"$\\{name.capitalize()}$")
    return escapes


TEX_ESCAPES = _tex_escapes()


def line(text: str) -> str:
    """Return text as one line, without control characters."""
    # A line break would end the paragraph or the cell that the text is set into.
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def latex(text: str) -> str:
    """Return plain text for LaTeX."""
    # One character for each letter with its accent, as pdflatex cannot put the two together.
    letters = unicodedata.normalize("NFC", line(text))
    return "".join(TEX_ESCAPES.get(letter, letter) for letter in letters)


def beyond_pdflatex(source: str) -> str:
    """Return the characters that pdflatex stops at, each once, in their order."""
    return "".join(dict.fromkeys(TEX_LETTERS.sub("", source.replace("\n", ""))))


def markdown(text: str) -> str:
    """Return plain text for a Markdown table or paragraph."""
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", line(text))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
