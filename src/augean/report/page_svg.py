"""Set the SVG of a figure into the page: small, and in the colours of the page's theme.

The files of the figures stay as Matplotlib wrote them, on white.
"""

import re

from markupsafe import Markup

from augean.report.figures.plotting import COLOURS, GREY, INK, MUTED

DARK = {
    INK.lower(): "#e3e7eb",
    MUTED.lower(): "#9aa5b1",
    "#8c959f": "#77828d",
    GREY.lower(): "#4b545d",
    "#e6e9ec": "#2d363f",
    "#ffffff": "#11161c",
    COLOURS[0].lower(): "#4da8e0",
    COLOURS[4].lower(): "#2cc295",
    COLOURS[5].lower(): "#f0833f",
}
"""The dark theme's colour for each colour of the figures. Those that read well on both grounds are
not listed, and stay."""
URL_CODES = {
    "%": "%25",
    "#": "%23",
    "&": "%26",
    "'": "%27",
}
"""Characters with a meaning in a URL or in HTML; first the one that all codes have."""
UNREAD = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
"""Parts of an SVG that no browser draws."""


def svg_link(svg: bytes) -> Markup:
    """Return an SVG as a link that may stand between double quotes in HTML as it is."""
    text = _compact(follow_theme(svg).decode())
    for character, code in URL_CODES.items():
        text = text.replace(character, code)
    # Single quotes need no escape, which makes the link a quarter shorter than base64.
    text = text.replace('"', "'")
    return Markup("data:image/svg+xml,") + Markup(text)


def size_attributes(svg: bytes) -> Markup:
    """Return width and height of an SVG as attributes of an image in HTML."""
    view = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if view is None:
        return Markup("")
    return Markup('width="{:.0f}" height="{:.0f}"').format(float(view[1]), float(view[2]))


def follow_theme(svg: bytes) -> bytes:
    """Return an SVG whose colours change with the theme of the reader's page."""
    text = svg.decode()
    light = ""
    dark = ""
    for number, (light_colour, dark_colour) in enumerate(DARK.items()):
        name = f"--c{number}"
        # Matplotlib writes colours in style attributes: "stroke: #24292f".
        text = text.replace(f": {light_colour}", f": var({name})")
        light += f"{name}:{light_colour};"
        dark += f"{name}:{dark_colour};"
    rules = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    # The first <defs> belongs to the whole drawing.
    return text.replace("<defs>", f"<style>{rules}</style><defs>", 1).encode()


def _compact(svg: str) -> str:
    """Return the same drawing in fewer characters, on one line."""
    text = UNREAD.sub("", svg)
    # Text is drawn as paths, so that white space between elements means nothing.
    text = re.sub(r">\s+<", "><", text)
    # Nothing refers to groups, only to clips and to the outlines of letters.
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    text = re.sub(r"(?<= [xy]=\")[^\"]+|translate\([^)]+", _cut_digits, text)
    # A letter separates the numbers around it.
    text = re.sub(r"\s*\n\s*(?=[A-Za-z\"])", "", text)
    text = re.sub(r"(?<=[\"\d])([MLQC]) (?=[-\d])", r"\1", text)
    return " ".join(text.split())


def _cut_digits(numbers: re.Match[str]) -> str:
    """Return positions to a hundredth of a point, which is enough to see."""
    return re.sub(r"(\.\d\d)\d+", r"\1", numbers[0])
