"""Draws a table's curves, a confusion matrix and a network's structure, each as PNG and SVG.

Rows differ by colour and marker, training and validation by dashes: nothing is told by colour alone.
"""

import io
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from augean import rundir
from augean.errors import AugeanError
from augean.report.load import Contents
from augean.report.statistics import Array, Table

# Okabe and Ito's colours without yellow, which vanishes on white; neighbours differ in lightness too.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#D55E00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""As many rows get a colour and a name; the others of a larger table are drawn in grey."""
GREY, MUTED = "#C4C8CC", "#57606A"
SAVED: dict[str, Any] = {"png": {"pil_kwargs": {"compress_level": 3}}, "svg": {"metadata": {"Date": None}}}
STYLE = Path(__file__).parent / "templates" / "figures.mplstyle"

Looks = Mapping[str, tuple[str, str]]
"""Colour and marker of each named row."""


class Picture(NamedTuple):
    """One figure on disk: `name`.png and `name`.svg."""

    name: str
    caption: str
    alt: str


def draw(contents: Contents, table: Table, metrics: pandas.DataFrame, folder: Path) -> list[Picture]:
    """All figures of one table, in the order in which the page shows them.

    Args:
        metrics: as `load.read_metrics` gives it, for at least the runs of this table.
        folder: where the files go.
    """
    record, single, pictures = table.sweep.record, len(table.rows) == 1, []
    rows = {run["directory"]: row.label for row in table.rows for run in row.runs or row.diverged}
    own = metrics.assign(row=metrics.directory.map(rows).astype(object)).dropna(subset="row")
    looks, others = _looks(table, set(own.row))

    def keep(figure: Figure, kind: str, what: str, details: str, label: str | None = None) -> None:
        caption = f"{label}. {what}. {details}" if label else f"{what}. {details}"
        alt = f"{record.title}: {what[0].lower()}{what[1:]}"
        pictures.append(save(figure, folder, f"{record.name}_{kind}", caption.strip(), alt))

    if len(own):
        details = f"Training dashed, validation solid. {_legend_text(table, set(own.row), len(others))}"
        known = [part for part in ("accuracy", "loss") if own.filter(regex=f"_{part}$").notna().any(axis=None)]
        for parts in [[part] for part in known] if single else [known] * bool(known):
            what, name = f"{' and '.join(parts).capitalize()} per epoch", parts[0] if single else "curves"
            keep(_curves(own, looks, others, parts), name, what, details, record.figure if not record.band else None)
        if own.val_accuracy.notna().any():
            what = "Best validation accuracy so far against training time"
            keep(_against_time(own, looks, others), "time", what, "Mean over seeds; the marker is the end.")
    if single and table.runs:
        best = max(table.runs, key=lambda run: run.get("val_accuracy") or 0.0)
        if (counts := _read_confusion(contents, best["directory"])) is not None:
            details = f"Of run {best['id']}, the one with the best validation accuracy."
            keep(_confusion(counts), "confusion", "Confusion matrix on the test set", details)
    return pictures


def _legend_text(table: Table, drawn: Set[str], num_others: int) -> str:
    most = max(row.accuracy.n for row in table.rows)
    text = "Line: mean over seeds; band: smallest to largest of the validation." if most > 1 else "One seed."
    broken = [row.label for row in table.rows if row.label in drawn and not row.runs]
    text += f" All runs diverged and are drawn up to where they broke off: {', '.join(broken)}." if broken else ""
    return text + (f" Grey: {num_others} further rows of lower validation accuracy." if num_others else "")


def _looks(table: Table, labels: Set[str]) -> tuple[Looks, list[str]]:
    """Of the rows with these labels those that are named, in the table's order, and the labels of the rest."""
    drawn = [row for row in table.rows if row.label in labels]
    best = sorted(drawn, key=lambda row: math.inf if math.isnan(row.val_accuracy) else -row.val_accuracy)
    named = {row.label for row in best[: len(MARKERS)]}
    kept = [row.label for row in drawn if row.label in named]
    looks = {label: (COLOURS[i % len(COLOURS)], MARKERS[i]) for i, label in enumerate(kept)}
    return looks, [row.label for row in drawn if row.label not in named]


def _curves(own: pandas.DataFrame, looks: Looks, others: Sequence[str], parts: Sequence[str]) -> Figure:
    figure = Figure(figsize=(9.2 if len(parts) > 1 else 5.6, 3.3))
    names = [f"{kind}_{part}" for part in parts for kind in ("train", "val")]
    grouped = own.groupby(["row", "epoch"])[names].agg(["mean", "min", "max"])
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        scale = 100.0 if part == "accuracy" else 1.0
        for kind, dash, size in (("train", "--", 3.2), ("val", "-", 4.5)):
            wide = {key: grouped[f"{kind}_{part}", key].unstack("row") * scale for key in ("mean", "min", "max")}
            epochs = wide["mean"].index.to_numpy(float)
            for index, (row, (colour, marker)) in enumerate(looks.items()):
                # Rows take turns with their markers, so that a line below another one still shows.
                every = max(len(looks), len(epochs) // 6)
                turns = {"marker": marker, "ms": size, "markevery": (index * every // len(looks) % len(epochs), every)}
                axes.plot(epochs, wide["mean"][row], dash, color=colour, **(turns if len(looks) > 1 else {}))
                if kind == "val" and (wide["max"][row] > wide["min"][row]).any():
                    axes.fill_between(epochs, wide["min"][row], wide["max"][row], color=colour, alpha=0.13, lw=0)
        _grey(axes, [numpy.column_stack((epochs, wide["mean"][row])) for row in others])  # validation
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True, nbins=7)
        losses = own[["train_loss", "val_loss"]].to_numpy(float)
        losses = losses[numpy.isfinite(losses) & (losses > 0)]
        # A loss that starts in the hundreds, or ends near 0, hides everything else on a linear axis.
        log = part == "loss" and len(losses) and losses.max() > 25 * numpy.median(losses)
        axes.set_title("accuracy, %" if part == "accuracy" else f"cross-entropy loss{', log scale' if log else ''}")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        elif part == "loss":
            axes.set_ylim(bottom=0)
    validated = own.filter(regex="^val_").notna().any(axis=None)
    finish(figure, looks, {"training": "--", "validation": "-"} if validated else {"training": "--"})
    return figure


def _against_time(own: pandas.DataFrame, looks: Looks, others: Sequence[str]) -> Figure:
    runs = own.groupby("directory", observed=True, sort=False)
    elapsed = own.assign(elapsed=runs.seconds.cumsum(), best=100 * runs.val_accuracy.cummax())
    lines = elapsed.groupby(["row", "epoch"])[["elapsed", "best"]].mean()
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    _grey(axes, [lines.loc[row].to_numpy() for row in others])
    for row, (colour, marker) in looks.items():
        axes.plot(*lines.loc[row].to_numpy().T, color=colour, marker=marker, markevery=[-1], markersize=7)
    axes.set_xlim(left=0)
    axes.set_xlabel("training time, seconds")
    axes.set_title("best validation accuracy so far, %")
    finish(figure, looks, {})
    return figure


def _grey(axes: Axes, lines: Sequence[Array]) -> None:
    """The rows without a name: one object, and pixels even in the SVG, however many they are."""
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.6, rasterized=True, zorder=1))
    axes.autoscale_view()


def finish(figure: Figure, looks: Looks, dashes: Mapping[str, str]) -> None:
    """Set margins in inches and a legend below the axes, in a strip that grows with it."""
    named = looks if len(looks) > 1 else {}
    handles = [Line2D([], [], color=colour, marker=marker, markersize=5) for colour, marker in named.values()]
    handles += [Line2D([], [], color=MUTED, ls=dash) for dash in dashes.values()]
    labels = [*(short(row) for row in named), *dashes]
    width, longest = figure.get_figwidth(), max(map(len, labels), default=1)
    lines = math.ceil(len(labels) / max(1, int(width * 11 / (longest + 6))))
    height = figure.get_figheight() + 0.2 * lines
    figure.set_figheight(height)
    figure.subplots_adjust(left=0.55 / width, right=1 - 0.15 / width, wspace=0.16)
    figure.subplots_adjust(bottom=(0.5 + 0.2 * lines) / height, top=1 - 0.32 / height)
    if labels:
        figure.legend(handles, labels, loc="lower center", ncols=math.ceil(len(labels) / lines))


def short(label: str) -> str:
    """A label that fits; a leading underscore would hide it from the legend."""
    text = " ".join(label.split())
    text = text if len(text) <= 36 else text[:35] + "…"
    return f" {text}" if text.startswith("_") else text


def _read_confusion(contents: Contents, directory: str) -> pandas.DataFrame | None:
    """Counts with the true classes down and the predicted ones across."""
    path = rundir.runs_dir(contents.outputs) / directory / "confusion.csv"
    try:
        file = io.BytesIO(rundir.read_checked(path.parent, path.name))
        counts = pandas.read_csv(file, index_col=0, dtype={0: str}, keep_default_na=False).astype(int)
        if not len(counts) or len(counts) != len(counts.columns):
            raise ValueError(f"{len(counts)} x {len(counts.columns)} numbers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AugeanError) as error:
        contents.note(path, f"not a confusion matrix ({error})")
        return None
    return counts.rename(index=short, columns=short).rename_axis(index="true", columns="predicted")


def _confusion(counts: pandas.DataFrame) -> Figure:
    """Colour by the share of the true class, so that rare classes read as well as common ones."""
    size = 2.2 + 0.42 * min(len(counts), 12)
    figure = Figure(figsize=(size + 0.5, size), layout="tight")
    axes = figure.subplots()
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    bar = {"label": "share of the true class, %", "fraction": 0.045, "pad": 0.03}
    numbers = {"annot": counts, "fmt": "d", "annot_kws": {"size": 8 if len(counts) <= 12 else 6}}
    numbers = numbers if len(counts) <= 20 else {}
    seaborn.heatmap(share, cmap="Blues", vmin=0, vmax=100, square=True, cbar_kws=bar, ax=axes, **numbers)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure


def draw_models(contents: Contents, tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Figure 1: the structure of every network among the tables' runs, once per data set, model, stem and width."""
    pictures: dict[str, Picture] = {}
    for run in (run for table in tables for run in table.runs):
        data, model, channels = run.get("dataset.name"), run.get("model.name"), run.get("width.channels")
        name = re.sub(r"[^\w.-]", "_", f"figure1_{data}-{model}-{run.get('model.stem') or 'plain'}-c{channels}")[:120]
        path = rundir.runs_dir(contents.outputs) / run["directory"] / "model.json"
        if name in pictures or not path.exists():
            continue
        try:
            model = json.loads(rundir.read_checked(path.parent, path.name))
            title, size = f"{model['name']}, C = {channels}, on {data}", f"{int(model['parameters']):,} parameters"
            figure = _structure(model["input"], _blocks(model["modules"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, AugeanError) as error:
            contents.note(path, f"not the description of a network ({type(error).__name__}: {error})")
            continue
        caption = f"Figure 1. {title}: {size}. Output shapes: channels × height × width."
        pictures[name] = save(figure, folder, name, caption, f"Structure of {title} from input to output")
    return list(pictures.values())


@dataclass
class _Block:
    name: str
    text: str
    output: list[int]
    parameters: int


def _blocks(modules: Sequence[Mapping[str, Any]]) -> list[_Block]:
    """Modules as boxes: a block such as BasicBlock is one, and so is a convolution with its norm and activation."""
    entries = {str(module["name"]): module for module in modules}
    parents = {name[: dot.start()] for name in entries for dot in re.finditer(r"\.", name)}
    closed = {name for name in parents & entries.keys() if entries[name]["type"] not in ("Sequential", "ModuleList")}
    blocks: list[_Block] = []
    for name, module in entries.items():
        inside = any(name[: dot.start()] in closed for dot in re.finditer(r"\.", name))
        if inside or (name in parents and name not in closed) or module["type"] == "Identity":
            continue
        block = _Block(name, str(module["type"]), list(module["output"]), int(module["parameters"]))
        follows = name not in closed and not re.search("Conv|Linear|Pool|Flatten", block.text)
        if blocks and follows and blocks[-1].output == block.output:
            blocks[-1].text += f" + {block.text}"
            blocks[-1].parameters += block.parameters
        else:
            blocks.append(block)
    return blocks


def _structure(image: Sequence[int], blocks: Sequence[_Block]) -> Figure:
    """A column of boxes from the input down; the colour deepens with each change of resolution."""
    boxes = [_Block("", "input", list(image), 0), *blocks]
    figure = Figure(figsize=(6.4, 0.36 * len(boxes) + 0.38))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 6.4), ylim=(figure.get_figheight(), 0))
    axes.axis("off")
    axes.plot([2.75, 2.75], [0.5, 0.2 + 0.36 * len(boxes)], color=MUTED, linewidth=0.8, zorder=0)
    sizes = list(dict.fromkeys(tuple(block.output[1:]) for block in boxes))
    shades = ["white", *seaborn.light_palette("#0072B2", 2 * len(sizes) + 1)[1:]]
    lines = [("name", "block", "output", "parameters")]
    for index, block in enumerate(boxes):
        corner, shade = (1.4, 0.435 + 0.36 * index), shades[(sizes.index(tuple(block.output[1:])) + 1) * bool(index)]
        shape = {"boxstyle": "round,pad=0,rounding_size=0.05", "facecolor": shade, "edgecolor": MUTED, "linewidth": 0.7}
        axes.add_patch(FancyBboxPatch(corner, 2.7, 0.25, **shape))
        output, parameters = " × ".join(map(str, block.output)), f"{block.parameters:,}" if block.parameters else ""
        lines.append((short(block.name), short(block.text), output, parameters))
    for index, texts in enumerate(lines):
        for x, align, text in zip((1.25, 2.75, 5.05, 6.25), ("right", "center", "right", "right"), texts, strict=True):
            colour = MUTED if index == 0 or x < 2 else "black"
            axes.text(x, 0.2 + 0.36 * index, text, ha=align, va="center", size=8, color=colour)
    return figure


def save(figure: Figure, folder: Path, name: str, caption: str, alt: str) -> Picture:
    for kind in ("png", "svg"):
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks is drawn as a box
            figure.savefig(content, format=kind, **SAVED[kind])
        data = content.getvalue()
        if kind == "svg":  # a hundredth of a point is enough for a path, and a third smaller
            data = re.sub(rb'(?<= d=")[^"]+', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), data)
        rundir.write(folder / f"{name}.{kind}", data, sync=False)
    return Picture(name, caption, alt)
