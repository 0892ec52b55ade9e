"""Draws a table's curves, a confusion matrix and a network's structure, each as PNG and SVG.

Every figure stands on white, so that it reads the same on a dark page and in print. Rows differ by colour and marker,
training and validation by dashes, never by colour alone.
"""

import csv
import io
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pandas
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from augean import rundir
from augean.report.load import Contents, Problem, Run
from augean.report.statistics import Table

# Okabe and Ito's colours without yellow, which vanishes on white; ordered so that neighbours differ in lightness too.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#D55E00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
MOST_ROWS = 9
"""Rows that get a colour and a name; the others of a larger table are drawn in grey."""
GREY = "#C4C8CC"
INK = "#24292F"
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8C959F",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.02,  # fixed: finding a free place costs a seventh of the drawing
    "axes.grid": True,
    "grid.color": "#E6E9EC",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#57606A",
    "ytick.color": "#57606A",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "augean",  # the same numbers give the same file
}
DPI = 160


@dataclass(frozen=True)
class Picture:
    """One figure on disk: `name`.png and `name`.svg."""

    name: str
    caption: str
    alt: str


@dataclass(frozen=True)
class _Look:
    label: str
    colour: str
    marker: str


def draw(contents: Contents, table: Table, metrics: pandas.DataFrame, folder: Path) -> list[Picture]:
    """All figures of one table, in the order in which the page shows them.

    Args:
        metrics: as `load.read_metrics` gives it, for at least the runs of this table.
        folder: where the files go.
    """
    record, pictures = table.sweep.record, []
    rows = {run["directory"]: row.label for row in table.rows for run in row.runs}
    own = metrics[metrics.directory.isin(list(rows))]
    title = record.title
    with rc_context(STYLE):
        if len(own):
            own = own.assign(row=own.directory.map(rows).astype(object))
            looks, others = _looks(table)
            band = _band_text(own)
            parts = [("accuracy",), ("loss",)] if len(table.rows) == 1 else [("accuracy", "loss")]
            for part in parts:
                kind = "curves" if len(part) > 1 else part[0]
                figure = _curves(own, looks, others, part)
                what = " and ".join(part)
                caption = f"{what.capitalize()} per epoch: training dashed, validation solid. {band}{_left_out(table)}"
                label = f"{record.figure}, {what}" if record.figure and len(parts) > 1 else record.figure
                alt = f"{title}: curves of {what} per epoch, one line a row"
                pictures.append(_save(figure, folder, f"{record.name}_{kind}", label, caption, alt))
            if own.val_accuracy.notna().any():
                caption = (
                    "Best validation accuracy so far against training time, mean over seeds; the marker is the end."
                )
                figure = _against_time(own, looks, others)
                alt = f"{title}: best validation accuracy so far against training seconds, one line a row"
                pictures.append(_save(figure, folder, f"{record.name}_time", None, caption, alt))
        if len(table.rows) == 1 and table.runs:
            best = max(table.runs, key=lambda run: run.get("val_accuracy") or 0.0)
            if (matrix := _read_confusion(contents, best)) is not None:
                caption = (
                    f"Confusion matrix on the test set of the run with the best validation accuracy ({best['id']})."
                )
                alt = f"{title}: confusion matrix, true classes down, predicted classes across"
                pictures.append(_save(_confusion(*matrix), folder, f"{record.name}_confusion", None, caption, alt))
    return pictures


def _left_out(table: Table) -> str:
    empty = [row.label for row in table.rows if not row.runs]
    hidden = len(table.rows) - len(empty) - MOST_ROWS
    text = (
        f" Without a finished run: {', '.join(empty[:MOST_ROWS])}{' ...' if len(empty) > MOST_ROWS else ''}."
        if empty
        else ""
    )
    return text + (f" Grey: {hidden} further rows of lower validation accuracy." if hidden > 0 else "")


def _band_text(own: pandas.DataFrame) -> str:
    most = int(own.groupby("row").directory.nunique().max())
    return "Line: mean over seeds; band: smallest to largest of the validation." if most > 1 else "One seed."


def _looks(table: Table) -> tuple[list[_Look], list[str]]:
    """Colour and marker of the rows that are named, and the labels of the rest."""
    drawn = [row for row in table.rows if row.runs]
    best = sorted(drawn, key=lambda row: -row.val_accuracy if row.val_accuracy == row.val_accuracy else math.inf)
    named = {row.label for row in best[:MOST_ROWS]}
    labels = [row.label for row in drawn if row.label in named]
    looks = [
        _Look(label, COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]) for index, label in enumerate(labels)
    ]
    return looks, [row.label for row in drawn if row.label not in named]


def _legend(figure: Figure, looks: Sequence[_Look], lines: Mapping[str, str], bottom: float) -> None:
    """One legend below the axes, in the strip of `bottom` inches that is kept free for it."""
    handles = [Line2D([], [], color=look.colour, marker=look.marker, markersize=5) for look in looks]
    labels = [_short(look.label) for look in looks]
    if len(looks) == 1:
        handles, labels = [], []
    handles += [Line2D([], [], color="#57606A", linestyle=style) for style in lines.values()]
    labels += list(lines)
    columns = max(1, min(len(labels), int(figure.get_figwidth() * 11 / (max(map(len, labels), default=1) + 6))))
    rows = math.ceil(len(labels) / columns)
    columns = math.ceil(len(labels) / rows)
    figure.legend(handles, labels, loc="lower center", ncols=columns, bbox_to_anchor=(0.5, 0.0), columnspacing=1.6)
    height = figure.get_figheight() + 0.2 * rows
    figure.set_figheight(height)
    figure.subplots_adjust(bottom=(bottom + 0.2 * rows) / height, top=1 - 0.32 / height)


def _short(label: str) -> str:
    """A label that fits a legend; a leading underscore would hide it."""
    text = " ".join(label.split())
    text = text if len(text) <= 36 else text[:35] + "…"
    return f" {text}" if text.startswith("_") else text


def _curves(own: pandas.DataFrame, looks: Sequence[_Look], others: Sequence[str], parts: Sequence[str]) -> Figure:
    figure = Figure(figsize=(4.6 * len(parts) if len(parts) > 1 else 5.6, 3.3))
    all_axes = figure.subplots(1, len(parts), squeeze=False)[0]
    names = [f"{kind}_{part}" for part in parts for kind in ("train", "val")]
    grouped = own.groupby(["row", "epoch"], sort=True)[names].agg(["mean", "min", "max"])
    dashes = {"training": "--"}
    if own[[name for name in names if name.startswith("val")]].notna().any(axis=None):
        dashes["validation"] = "-"
    for axes, part in zip(all_axes, parts, strict=True):
        scale = 100.0 if part == "accuracy" else 1.0
        for kind, dash in (("train", "--"), ("val", "-")):
            wide = {key: grouped[f"{kind}_{part}", key].unstack("row") * scale for key in ("mean", "min", "max")}
            epochs = wide["mean"].index.to_numpy(float)
            _grey(axes, [numpy.column_stack((epochs, wide["mean"][row])) for row in others], dash)
            for index, look in enumerate(looks):
                mean, low, high = (wide[key][look.label].to_numpy() for key in ("mean", "min", "max"))
                # Rows take turns with their markers, so that a line below another one still shows.
                every = max(len(looks), len(epochs) // 6)
                style = {"color": look.colour, "markersize": 4.5 if kind == "val" else 3.2}
                style["marker"] = look.marker if len(looks) > 1 else ""
                axes.plot(epochs, mean, dash, markevery=(index * every // len(looks), every), **style)
                if kind == "val" and (high > low).any():
                    axes.fill_between(epochs, low, high, color=look.colour, alpha=0.13, linewidth=0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)
        values = own[[f"train_{part}", f"val_{part}"]].to_numpy(float) * scale
        if part == "accuracy":
            axes.set_title("accuracy, %")
        else:
            positive = values[numpy.isfinite(values) & (values > 0)]
            # A loss that starts in the hundreds, or ends near 0, hides everything else on a linear axis.
            wide = len(positive) and positive.max() > 25 * numpy.median(positive)
            axes.set_title("cross-entropy loss" + (", log scale" if wide else ""))
            if wide:
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
    figure.subplots_adjust(left=0.55 / figure.get_figwidth(), right=1 - 0.15 / figure.get_figwidth(), wspace=0.16)
    _legend(figure, looks, dashes, bottom=0.55)
    return figure


def _grey(axes: Axes, lines: Sequence["numpy.ndarray[Any, Any]"], dash: str) -> None:
    """The rows without a name: one object, and pixels even in the SVG, however many they are."""
    if lines:
        collection = LineCollection(lines, colors=GREY, linewidths=0.6, linestyles=dash, rasterized=True)
        axes.add_collection(collection)
        axes.autoscale_view()


def _against_time(own: pandas.DataFrame, looks: Sequence[_Look], others: Sequence[str]) -> Figure:
    frame = own.sort_values(["directory", "epoch"], kind="stable")
    runs = frame.groupby("directory", observed=True, sort=False)
    frame = frame.assign(elapsed=runs.seconds.cumsum(), best=100 * runs.val_accuracy.cummax())
    grouped = frame.groupby(["row", "epoch"])[["elapsed", "best"]].mean()
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    _grey(axes, [grouped.loc[row][["elapsed", "best"]].to_numpy() for row in others], "-")
    for look in looks:
        line = grouped.loc[look.label]
        axes.plot(line.elapsed, line.best, color=look.colour, marker=look.marker, markevery=[-1], markersize=7)
    axes.set_xlim(left=0)
    axes.set_xlabel("training time, seconds")
    axes.set_title("best validation accuracy so far, %")
    figure.subplots_adjust(left=0.55 / 5.6, right=1 - 0.15 / 5.6)
    if len(looks) > 1:
        _legend(figure, looks, {}, bottom=0.55)
    else:
        figure.subplots_adjust(bottom=0.5 / 3.3, top=1 - 0.32 / 3.3)
    return figure


def _read_confusion(contents: Contents, run: Run) -> tuple[list[str], "numpy.ndarray[Any, Any]"] | None:
    place = f"{rundir.runs_dir(contents.outputs).name}/{run['directory']}/confusion.csv"
    try:
        header, *rows = csv.reader((contents.outputs / place).read_text(encoding="utf-8").splitlines())
        counts = numpy.array([[int(cell) for cell in row[1:]] for row in rows])
        if counts.shape != (len(header) - 1,) * 2 or not len(counts):
            raise ValueError(f"{counts.shape} numbers for {len(header) - 1} classes")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        contents.problems.append(Problem(place, f"not a confusion matrix ({error})"))
        return None
    return header[1:], counts


def _confusion(classes: Sequence[str], counts: "numpy.ndarray[Any, Any]") -> Figure:
    """Colour by the share of the true class, so that rare classes read as well as common ones."""
    size = 2.2 + 0.42 * min(len(classes), 12)
    figure = Figure(figsize=(size + 0.5, size))
    axes = figure.subplots()
    share = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    if len(classes) <= 20:
        small = 8.0 if len(classes) <= 12 else 6.0
        for (true, predicted), count in numpy.ndenumerate(counts):
            colour = "white" if share[true, predicted] > 0.55 else INK if count else "#AEB4BA"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour, fontsize=small)
    ticks = range(0, len(classes), math.ceil(len(classes) / 20))
    names = [_short(classes[tick]) for tick in ticks]
    axes.set_xticks(
        ticks,
        names,
        rotation=45 if max(map(len, names)) > 2 else 0,
        ha="right" if max(map(len, names)) > 2 else "center",
        rotation_mode="anchor",
    )
    axes.set_yticks(ticks, names)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
    bar.set_label("share of the true class, %")
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.set_layout_engine("tight")
    return figure


def draw_models(contents: Contents, tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Figure 1: the structure of every network among the tables' runs, once per model and width."""
    pictures: dict[str, Picture] = {}
    for run in (run for table in tables for run in table.runs):
        name = re.sub(r"[^\w.-]", "_", f"figure1_{run.get('model.name')}-c{run.get('width.channels')}")
        if name in pictures:
            continue
        place = f"{rundir.runs_dir(contents.outputs).name}/{run['directory']}/model.json"
        try:
            model = json.loads((contents.outputs / place).read_text(encoding="utf-8"))
            blocks = list(_blocks(model["modules"]))
            with rc_context(STYLE):
                figure = _structure(model["input"], blocks)
            total, title = int(model["parameters"]), str(model["name"])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            contents.problems.append(
                Problem(place, f"not the description of a network ({type(error).__name__}: {error})")
            )
            continue
        caption = f"{title} with C = {run.get('width.channels')}: {total:,} parameters. Blocks, output shapes (channels × height × width), parameters."
        alt = f"Structure of {title}: {len(blocks)} blocks from the input {_shape(model['input'])} to {_shape(blocks[-1].output) if blocks else 'nothing'}"
        with rc_context(STYLE):
            pictures[name] = _save(figure, folder, name, "Figure 1", caption, alt)
    return list(pictures.values())


@dataclass
class _Block:
    name: str
    text: str
    output: list[int]
    parameters: int


_OWN_BOX = ("Conv", "Linear", "Pool", "Flatten", "Identity")


def _blocks(modules: Sequence[Mapping[str, Any]]) -> Iterator[_Block]:
    """Modules as boxes: a block such as BasicBlock is one, and so is a convolution with its norm and activation."""
    entries = {str(module["name"]): module for module in modules}
    parents = {name[:index] for name in entries for index, letter in enumerate(name) if letter == "."}
    inside = {name for name in parents if name in entries and entries[name]["type"] not in ("Sequential", "ModuleList")}
    current: _Block | None = None
    for name, module in entries.items():
        above = [name[:index] for index, letter in enumerate(name) if letter == "."]
        if any(parent in inside for parent in above) or (name in parents and name not in inside):
            continue
        kind, output, parameters = str(module["type"]), list(module["output"]), int(module["parameters"])
        if kind == "Identity":
            continue
        if current and name not in inside and current.output == output and not any(part in kind for part in _OWN_BOX):
            current.text += f" + {kind}"
            current.parameters += parameters
            continue
        if current:
            yield current
        current = _Block(name, kind, output, parameters)
    if current:
        yield current


def _shape(output: Sequence[int]) -> str:
    return " × ".join(str(size) for size in output)


def _structure(image: Sequence[int], blocks: Sequence[_Block]) -> Figure:
    """A column of boxes from the input down; the colour deepens with each change of resolution."""
    pitch, height = 0.36, 0.25
    boxes = [_Block("", "input", list(image), 0), *blocks]
    total = pitch * len(boxes) + 0.38
    figure = Figure(figsize=(6.4, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 6.4)
    axes.set_ylim(total, 0)
    axes.axis("off")
    columns = (
        (1.25, "right", "name"),
        (2.75, "center", "block"),
        (5.05, "right", "output"),
        (6.25, "right", "parameters"),
    )
    for x, align, heading in columns:
        axes.text(x, 0.2, heading, ha=align, va="center", fontsize=8, color="#57606A")
    sizes = list(dict.fromkeys(tuple(block.output[1:]) for block in boxes))
    for index, block in enumerate(boxes):
        y = 0.38 + pitch * index + height / 2
        shade = 0.06 + 0.34 * sizes.index(tuple(block.output[1:])) / max(1, len(sizes) - 1)
        fill = tuple(1 - shade * (1 - channel) for channel in (0.0, 0.45, 0.70)) if index else "white"
        box = FancyBboxPatch(
            (1.4, y - height / 2),
            2.7,
            height,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=fill,
            edgecolor="#57606A",
            linewidth=0.7,
        )
        axes.add_patch(box)
        cells = (
            _short(block.name),
            _short(block.text),
            _shape(block.output),
            f"{block.parameters:,}" if block.parameters else "",
        )
        for (x, align, heading), text in zip(columns, cells, strict=True):
            axes.text(x, y, text, ha=align, va="center", fontsize=8, color=INK if heading != "name" else "#57606A")
        if index:
            _arrow(axes, y - pitch + height / 2, y - height / 2)
    return figure


def _arrow(axes: Axes, start: float, end: float) -> None:
    style = {"arrowstyle": "-|>", "color": "#57606A", "linewidth": 0.7, "mutation_scale": 6, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(2.75, end), xytext=(2.75, start), arrowprops=style)


def _save(figure: Figure, folder: Path, name: str, label: str | None, caption: str, alt: str) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks is drawn as a box
        for kind, options in (("png", {"dpi": DPI}), ("svg", {"metadata": {"Date": None}})):
            content = io.BytesIO()
            figure.savefig(content, format=kind, **options)
            # A hundredth of a point is enough for a path, and a third smaller.
            data = re.sub(rb'(?<= d=")[^"]+', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), content.getvalue())
            rundir.write(folder / f"{name}.{kind}", data if kind == "svg" else content.getvalue(), sync=False)
    return Picture(name, f"{label}. {caption}" if label else caption, alt)
