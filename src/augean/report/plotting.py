"""Colours, legends and files that all figures share.

Rows differ by colour and marker, training and validation by dashes: nothing is told by colour
alone.
"""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from augean.analysis.comparison import Array
from augean.store.files import write_atomic

# Okabe and Ito's colours without yellow, which vanishes on white; neighbours differ in lightness
# too.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#D55E00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""As many rows get a colour and a name; the others of a larger table are drawn in grey."""
GREY, MUTED = "#C4C8CC", "#57606A"
SAVED: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 3}},
    "svg": {"metadata": {"Date": None}},
}
STYLE = Path(__file__).parent / "templates" / "figures.mplstyle"
Looks = Mapping[str, tuple[str, str]]
"""Colour and marker of each named row."""


class Picture(NamedTuple):
    """One figure on disk: `name`.png and `name`.svg."""

    name: str
    caption: str
    alt: str


def draw_unnamed(axes: Axes, lines: Sequence[Array]) -> None:
    """The rows without a name: one object, and pixels even in the SVG, however many they are."""
    axes.add_collection(
        LineCollection(lines, colors=GREY, linewidths=0.6, rasterized=True, zorder=1)
    )
    axes.autoscale_view()


def finish_figure(figure: Figure, looks: Looks, dashes: Mapping[str, str]) -> None:
    """Set margins in inches and a legend below the axes, in a strip that grows with it."""
    named = looks if len(looks) > 1 else {}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5)
        for colour, marker in named.values()
    ]
    handles += [Line2D([], [], color=MUTED, ls=dash) for dash in dashes.values()]
    labels = [*(shorten_label(row) for row in named), *dashes]
    width, longest = figure.get_figwidth(), max(map(len, labels), default=1)
    lines = math.ceil(len(labels) / max(1, int(width * 11 / (longest + 6))))
    height = figure.get_figheight() + 0.2 * lines
    figure.set_figheight(height)
    figure.subplots_adjust(left=0.55 / width, right=1 - 0.15 / width, wspace=0.16)
    figure.subplots_adjust(bottom=(0.5 + 0.2 * lines) / height, top=1 - 0.32 / height)
    if labels:
        figure.legend(handles, labels, loc="lower center", ncols=math.ceil(len(labels) / lines))


def shorten_label(label: str) -> str:
    """A label that fits; a leading underscore would hide it from the legend."""
    text = " ".join(label.split())
    text = text if len(text) <= 36 else text[:35] + "…"
    return f" {text}" if text.startswith("_") else text


def save_figure(figure: Figure, folder: Path, name: str, caption: str, alt: str) -> Picture:
    for kind in ("png", "svg"):
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # a letter that the font lacks is drawn as a box
            figure.savefig(content, format=kind, **SAVED[kind])
        data = content.getvalue()
        if kind == "svg":  # a hundredth of a point is enough for a path, and a third smaller
            data = re.sub(
                rb'(?<= d=")[^"]+', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), data
            )
        write_atomic(folder / f"{name}.{kind}", data, sync=False)
    return Picture(name, caption, alt)
