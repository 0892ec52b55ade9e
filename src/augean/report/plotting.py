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

from augean.analysis.simultaneous import Array
from augean.store.files import write_atomic

INK = "#24292F"
"""The colour of text."""
COLOURS = ("#0072B2", "#E69F00", INK, "#CC79A7", "#009E73", "#D55E00", "#56B4E9")
"""Okabe and Ito's colours, without yellow, which vanishes on white; black is text's. Neighbours
differ in lightness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""As many rows get a colour and a name; the others of a larger table are drawn in grey."""
GREY = "#C4C8CC"
"""The colour of rows without a name."""
MUTED = "#57606A"
"""The colour of frames, scales and all that is not a row."""
SAVED: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 3}},
    "svg": {"metadata": {"Date": None}},
}
STYLE = Path(__file__).parent / "templates" / "figures.mplstyle"
Styles = Mapping[str, tuple[str, str]]
"""Colour and marker of each named row."""


class Picture(NamedTuple):
    """One figure on disk: `name`.png and `name`.svg."""

    name: str
    caption: str
    alt: str


def style_of(index: int) -> tuple[str, str]:
    """Return colour and marker of the row at that place; beyond the markers they come again."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def draw_unnamed(axes: Axes, lines: Sequence[Array]) -> None:
    """Draw the rows without a name: one object, and pixels even in the SVG, however many."""
    collection = LineCollection(lines, colors=GREY, linewidths=0.6, rasterized=True, zorder=1)
    axes.add_collection(collection)
    axes.autoscale_view()


def finish_figure(figure: Figure, styles: Styles, dashes: Mapping[str, str]) -> None:
    """Set margins in inches, and a legend below the axes in a strip that grows with it.

    Args:
        styles: the named rows; one alone needs no legend.
        dashes: line styles, by what they stand for.
    """
    handles = []
    labels = []
    if len(styles) > 1:
        for row, (colour, marker) in styles.items():
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=5))
            labels.append(shorten_label(row))
    for label, dash in dashes.items():
        handles.append(Line2D([], [], color=MUTED, ls=dash))
        labels.append(label)
    width = figure.get_figwidth()
    longest = max((len(label) for label in labels), default=1)
    # About 11 characters of the legend's font fit an inch; six more are the line and its gap.
    per_line = max(1, int(width * 11 / (longest + 6)))
    num_lines = math.ceil(len(labels) / per_line)
    height = figure.get_figheight() + 0.2 * num_lines
    figure.set_figheight(height)
    figure.subplots_adjust(left=0.55 / width, right=1 - 0.15 / width, wspace=0.16)
    figure.subplots_adjust(bottom=(0.5 + 0.2 * num_lines) / height, top=1 - 0.32 / height)
    if labels:
        columns = math.ceil(len(labels) / num_lines)
        figure.legend(handles, labels, loc="lower center", ncols=columns)


def shorten_label(label: str, longest: int = 36) -> str:
    """Return a label that fits; a leading underscore would hide it from the legend."""
    text = " ".join(label.split())
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.startswith("_"):
        text = f" {text}"
    return text


def save_figure(figure: Figure, folder: Path, *, name: str, caption: str, alt: str) -> Picture:
    """Write `name`.png and `name`.svg into `folder`."""
    for kind in ("png", "svg"):
        content = io.BytesIO()
        with warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box.
            warnings.simplefilter("ignore", UserWarning)
            figure.savefig(content, format=kind, **SAVED[kind])
        data = content.getvalue()
        if kind == "svg":
            data = _round_paths(data)
        write_atomic(folder / f"{name}.{kind}", data, sync=False)
    return Picture(name=name, caption=caption, alt=alt)


def _round_paths(svg: bytes) -> bytes:
    """Cut coordinates to a hundredth of a point: enough to see, and a third smaller."""

    def shorten(path: re.Match[bytes]) -> bytes:
        return re.sub(rb"(\.\d\d)\d+", rb"\1", path[0])

    return re.sub(rb'(?<= d=")[^"]+', shorten, svg)


def number_figures(
    overview: Sequence[Picture],
    sections: Sequence[Sequence[Picture]],
    models: Sequence[Picture],
) -> list[list[Picture]]:
    """Return the figures of a report in its order, numbered once through.

    Args:
        sections: of each table.
        models: the networks, which are one figure together.
    """
    number = 0
    numbered = []
    for pictures in (overview, *sections):
        named = []
        for picture in pictures:
            number += 1
            named.append(picture._replace(caption=f"Figure {number}. {picture.caption}"))
        numbered.append(named)
    together = []
    for index, picture in enumerate(models):
        name = f"Figure {number + 1}"
        if len(models) > 1:
            name += f" ({index + 1} of {len(models)})"
        together.append(picture._replace(caption=f"{name}. {picture.caption}"))
    return [*numbered, together]
