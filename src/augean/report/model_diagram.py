"""Draw Figure 1: the structure of a network as a column of boxes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seaborn
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.errors import AugeanError
from augean.report.plotting import MUTED, Picture, save_figure, shorten_label
from augean.store.run_directory import read_verified, runs_dir


def draw_models(contents: Contents, tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Figure 1: the structure of every network among the tables' runs, once per data set, model,
    stem and width.
    """
    pictures: dict[str, Picture] = {}
    for run in (run for table in tables for run in table.runs):
        data, model, channels = (
            run.get("dataset.name"),
            run.get("model.name"),
            run.get("width.channels"),
        )
        name = re.sub(
            r"[^\w.-]",
            "_",
            f"figure1_{data}-{model}-{run.get('model.stem') or 'plain'}-c{channels}",
        )[:120]
        path = runs_dir(contents.outputs) / run["directory"] / "model.json"
        if name in pictures or not path.exists():
            continue
        try:
            model = json.loads(read_verified(path.parent, path.name))
            title, size = (
                f"{model['name']}, C = {channels}, on {data}",
                f"{int(model['parameters']):,} parameters",
            )
            figure = _structure(model["input"], _blocks(model["modules"]))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            AugeanError,
        ) as error:
            contents.note(
                path, f"not the description of a network ({type(error).__name__}: {error})"
            )
            continue
        caption = f"Figure 1. {title}: {size}. Output shapes: channels × height × width."
        pictures[name] = save_figure(
            figure, folder, name, caption, f"Structure of {title} from input to output"
        )
    return list(pictures.values())


@dataclass
class _Block:
    name: str
    text: str
    output: list[int]
    parameters: int


def _blocks(modules: Sequence[Mapping[str, Any]]) -> list[_Block]:
    """Modules as boxes: a block such as BasicBlock is one, and so is a convolution with its norm
    and activation.
    """
    entries = {str(module["name"]): module for module in modules}
    parents = {name[: dot.start()] for name in entries for dot in re.finditer(r"\.", name)}
    closed = {
        name
        for name in parents & entries.keys()
        if entries[name]["type"] not in ("Sequential", "ModuleList")
    }
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
        corner, shade = (
            (1.4, 0.435 + 0.36 * index),
            shades[(sizes.index(tuple(block.output[1:])) + 1) * bool(index)],
        )
        shape = {
            "boxstyle": "round,pad=0,rounding_size=0.05",
            "facecolor": shade,
            "edgecolor": MUTED,
            "linewidth": 0.7,
        }
        axes.add_patch(FancyBboxPatch(corner, 2.7, 0.25, **shape))
        output, parameters = (
            " × ".join(map(str, block.output)),
            f"{block.parameters:,}" if block.parameters else "",
        )
        lines.append((shorten_label(block.name), shorten_label(block.text), output, parameters))
    for index, texts in enumerate(lines):
        for x, align, text in zip(
            (1.25, 2.75, 5.05, 6.25), ("right", "center", "right", "right"), texts, strict=True
        ):
            colour = MUTED if index == 0 or x < 2 else "black"
            axes.text(x, 0.2 + 0.36 * index, text, ha=align, va="center", size=8, color=colour)
    return figure
