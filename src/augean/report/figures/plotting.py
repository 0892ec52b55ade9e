"""Colours, legends and files that all figures share.

Rows differ by colour and marker, training and validation by dashes: nothing is told by colour
alone.
"""

import io
import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from augean.store.files import write_atomic

INK = "#24292F"
"""The colour of text."""
COLOURS = ("#0072B2", "#E69F00", INK, "#CC79A7", "#009E73", "#D55E00", "#56B4E9")
"""Okabe and Ito's colours, without yellow, which vanishes on white; black is text's. Neighbours
differ in lightness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One for each colour. Rows beyond them are grey and have no name."""
GREY = "#C4C8CC"
"""The colour of rows without a name."""
MUTED = "#57606A"
"""The colour of frames, scales and all that is not a row."""
CHARACTERS_AN_INCH = 11
"""About as many letters of the legend's font fit into an inch."""
GROUP_OF_KEY = re.compile(r"(?<![\w.])\+*(?:\w+\.)+(?=\w+=)")
"""What stands before the last part of a key in a label such as "optimizer.arguments.eps=1e-8"."""
SAVE_OPTIONS: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 3}},
    # Without a date, the same numbers give the same file.
    "svg": {"metadata": {"Date": None}},
}
"""Options of `savefig` for each kind of file."""
STYLE = Path(__file__).parents[1] / "templates" / "figures.mplstyle"
FALLBACK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC",
    "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "SimHei",
    "Yu Gothic", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
"""Fonts with Chinese, Japanese or Korean letters, which Matplotlib's own font lacks."""
MISSING_LETTER = re.compile(r"Glyph (\d+) ")
"""How Matplotlib's warning names a letter that no font has: by its code."""
Styles = Mapping[str, tuple[str, str]]
"""Colour and marker of each named row."""


class Picture(NamedTuple):
    """One figure on disk: `name`.png and `name`.svg in figures/."""

    name: str
    caption: str
    alt: str
    has_csv: bool = False
    """Whether `name`.csv has the numbers that it shows."""
    missing_letters: str = ""
    """Letters that no font has, which are drawn as boxes."""
    number: str = ""
    """Of the figure in its report, such as "3" or "12 (1 of 3)"."""


@contextmanager
def figure_style() -> Iterator[None]:
    """Set how figures look, with those of the fallback fonts that are installed."""
    installed = set(font_manager.get_font_names())
    families = ["sans-serif", *(name for name in FALLBACK_FONTS if name in installed)]
    # Otherwise it says of each such font that it has no bold letters.
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with rc_context({"font.family": families}, fname=STYLE):
            yield
    finally:
        logger.setLevel(level)


def style_of(index: int) -> tuple[str, str]:
    """Return colour and marker of the row at that place; after the last ones they repeat."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def draw_unnamed(axes: Axes, lines: Sequence[NDArray[numpy.float64]]) -> None:
    """Draw the rows without a name in grey, behind the others."""
    # One object, and pixels even in the SVG, so that hundreds of lines stay fast and small.
    collection = LineCollection(lines, colors=GREY, linewidths=0.6, rasterized=True, zorder=1)
    axes.add_collection(collection)
    axes.autoscale_view()


def finish_figure(
    figure: Figure, styles: Styles, dashes: Mapping[str, str], title: str = ""
) -> None:
    """Set the margins, and a legend below the axes in a strip that grows with it.

    Args:
        styles: the named rows; one alone needs no legend.
        dashes: line styles, by what they stand for.
        title: of the legend; what the rows' labels are values of.
    """
    entries = _legend_entries(styles, dashes)
    width = figure.get_figwidth()
    num_lines = 0
    if entries:
        longest = max(len(str(entry.get_label())) for entry in entries)
        # Six more characters are the line of an entry and the gap after it.
        entries_a_line = max(1, int(width * CHARACTERS_AN_INCH / (longest + 6)))
        num_lines = math.ceil(len(entries) / entries_a_line)
        # As few columns as these lines need: six entries in two lines are 3 + 3, not 5 + 1.
        num_columns = math.ceil(len(entries) / num_lines)
        figure.legend(handles=entries, loc="lower center", ncols=num_columns, title=title or None)
        num_lines += bool(title)
    legend_height = 0.2 * num_lines
    height = figure.get_figheight() + legend_height
    figure.set_figheight(height)
    # Margins are in inches, which Matplotlib takes as fractions of the figure.
    figure.subplots_adjust(
        left=0.55 / width,
        right=1 - 0.15 / width,
        bottom=(0.5 + legend_height) / height,
        top=1 - 0.32 / height,
        wspace=0.16,
    )


def _legend_entries(styles: Styles, dashes: Mapping[str, str]) -> list[Line2D]:
    """Return an entry for each named row, and for each style of lines."""
    entries = []
    if len(styles) > 1:
        labels = shorten_labels(styles)
        for row, (colour, marker) in styles.items():
            entry = Line2D([], [], color=colour, marker=marker, markersize=5, label=labels[row])
            entries.append(entry)
    for label, dash in dashes.items():
        entries.append(Line2D([], [], color=MUTED, ls=dash, label=label))
    return entries


def shorten_labels(labels: Iterable[str], longest: int = 36) -> dict[str, str]:
    """Return labels that fit, by their full text.

    Where one is too long, groups are left out of "group.key=value". Long ones that begin alike are
    cut in the middle, as they differ at their ends.
    """
    full_labels = list(labels)
    names = {label: label for label in full_labels}
    if any(len(label) > longest for label in full_labels):
        without_groups = {label: GROUP_OF_KEY.sub("", label) for label in full_labels}
        if len(set(without_groups.values())) == len(names):
            names = without_groups
    short = {label: shorten_label(name, longest) for label, name in names.items()}
    counts = Counter(short.values())
    start = longest // 3
    for label, text in short.items():
        line = " ".join(names[label].split())
        if counts[text] > 1 and len(line) > longest:
            short[label] = shorten_label(f"{line[:start]}…{line[start + 1 - longest :]}", longest)
    return short


def shorten_label(label: str, longest: int = 36) -> str:
    """Return a label that fits: one line of at most so many characters."""
    text = " ".join(label.split())
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    # Matplotlib hides labels with a leading underscore from the legend.
    if text.startswith("_"):
        text = f" {text}"
    return text


def save_figure(
    figure: Figure, folder: Path, *, name: str, caption: str, alt: str, csv: str | None = None
) -> Picture:
    """Write `name`.png and `name`.svg into `folder`.

    Args:
        csv: the numbers of the figure, for `name`.csv; None writes no such file. It lies beside the
            figure, as in tables/ another sweep may have that name.
    """
    missing_letters: dict[str, None] = {}
    for kind in ("png", "svg"):
        content = io.BytesIO()
        with warnings.catch_warnings(record=True) as caught:
            # Matplotlib warns of each letter that the fonts lack, and draws it as a box.
            warnings.simplefilter("always", UserWarning)
            figure.savefig(content, format=kind, **SAVE_OPTIONS[kind])
        for warning in caught:
            match = MISSING_LETTER.match(str(warning.message))
            if match is not None:
                missing_letters[chr(int(match[1]))] = None
        data = content.getvalue()
        if kind == "svg":
            data = _round_paths(data)
        write_atomic(folder / f"{name}.{kind}", data, sync=False)
    if csv is not None:
        # Names of files may hold bytes that are not text; they become question marks.
        write_atomic(folder / f"{name}.csv", csv.encode("utf-8", "replace"), sync=False)
    return Picture(
        name=name,
        caption=caption,
        alt=alt,
        has_csv=csv is not None,
        missing_letters="".join(missing_letters),
    )


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
    """Number the figures of a report from 1, and return them in the same order.

    Args:
        overview: the figures at the top.
        sections: the figures of each table.
        models: the figures of the networks, which share one number.

    Returns:
        `overview`, each of `sections`, and `models`.
    """
    number = 0
    groups = []
    for pictures in (overview, *sections):
        group = []
        for picture in pictures:
            number += 1
            group.append(picture._replace(number=str(number)))
        groups.append(group)
    numbered_models = []
    for index, picture in enumerate(models, start=1):
        share = f" ({index} of {len(models)})" if len(models) > 1 else ""
        numbered_models.append(picture._replace(number=f"{number + 1}{share}"))
    return [*groups, numbered_models]
