"""Draw the structure of a network as a column of boxes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.config.labels import row_label
from augean.regular_files import parse_json
from augean.report.figures.plotting import COLOURS, INK, MUTED, Picture, save_figure, shorten_label
from augean.store.run_files import MODEL

# All lengths are in inches; y counts downwards from the top.
WIDTH = 6.4
PITCH = 0.36
"""Distance from the top of one box to the top of the next."""
HEADING_Y = 0.2
BOX_TOP = 0.435
"""Top of the first box."""
BOX_LEFT = 1.4
BOX_WIDTH = 2.7
BOX_HEIGHT = 0.25
OUTPUT_RIGHT = 5.05
"""Right end of the column of output shapes."""
PARAMETERS_RIGHT = 6.25
"""Right end of the column of numbers of parameters."""
SHAPE_KEYS = frozenset(
    {
        "dataset.name",
        "dataset.image_size",
        "dataset.arguments.num_classes",
        "model.name",
        "model._target_",
        "model.stem",
        "width.channels",
    }
)
"""Config keys that shape a network, beside the arguments of its class."""
CONTAINERS = ("Sequential", "ModuleList")


def draw_models(contents: Contents, tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Draw the structure of every network among the tables' runs.

    Args:
        folder: where the files go.
    """
    pictures = []
    for network in _distinct_networks(tables):
        for run in network.runs:
            picture = _draw_model(contents, run, folder, network)
            # Some runs have no description: those that never began, and custom loops.
            if picture is not None:
                pictures.append(picture)
                break
    return pictures


@dataclass
class _Network:
    """A network, and the runs that train it."""

    name: str
    """Name of its figure."""
    differences: list[str]
    """What tells it from the other networks of that data set, model, stem and width."""
    runs: list[Run]


def _distinct_networks(tables: Sequence[Table]) -> list[_Network]:
    """Return the networks among the tables' runs, each once."""
    # By data set, model, stem and width, then by all settings that shape a network.
    groups: dict[str, dict[frozenset[tuple[str, str]], list[Run]]] = {}
    for table in tables:
        for run in table.runs:
            settings = frozenset(_shape_settings(run).items())
            groups.setdefault(_file_name(run), {}).setdefault(settings, []).append(run)
    networks = []
    for name, runs_by_settings in groups.items():
        common = frozenset.intersection(*runs_by_settings)
        for settings, runs in runs_by_settings.items():
            differences = [f"{key}={value}" for key, value in sorted(settings - common)]
            networks.append(_Network(_name_apart(name, differences), differences, runs))
    return networks


def _name_apart(name: str, differences: Sequence[str]) -> str:
    """Return the name of a figure, with a digest of what tells its network from others."""
    if not differences:
        return name
    digest = hashlib.sha256("; ".join(differences).encode()).hexdigest()[:8]
    return f"{name}--{digest}"


def _shape_settings(run: Run) -> dict[str, str]:
    """Return the settings of a run that shape its network, as labels.

    The activation is not among them: it would give most tables several figures of one structure.
    """
    settings = {}
    for key, value in run.config.items():
        if key in SHAPE_KEYS or key.startswith("model.arguments."):
            settings[key] = row_label(value)
    return settings


def _file_name(run: Run) -> str:
    """Return the name of the figure of a run's network, where no other network has the same."""
    data = run.config.get("dataset.name")
    model = run.config.get("model.name")
    stem = run.config.get("model.stem") or "plain"
    channels = run.config.get("width.channels") or "native"
    name = f"network_{data}-{model}-{stem}-c{channels}"
    return re.sub(r"[^\w.-]", "_", name)[:120]


def _draw_model(contents: Contents, run: Run, folder: Path, network: _Network) -> Picture | None:
    """Draw the network of one run; None where the run has no readable description of it."""

    def describe(content: bytes) -> _Description:
        model = parse_json(content)
        title = _title(str(model["name"]), run, network.differences)
        figure = _structure(model["input"], _blocks(model["modules"]))
        return _Description(title, int(model["parameters"]), figure)

    description = contents.read_file(run, MODEL, describe, "not the description of a network")
    if description is None:
        return None
    title = description.title
    return save_figure(
        description.figure,
        folder,
        name=network.name,
        caption=f"{title}: {description.parameters:,} parameters.",
        alt=f"Structure of {title} from input to output",
    )


class _Description(NamedTuple):
    """What the figure of a network shows."""

    title: str
    parameters: int
    figure: Figure


def _title(model: str, run: Run, differences: Sequence[str]) -> str:
    """Return the name of a network with what tells it from others."""
    title = model
    stem = run.config.get("model.stem")
    if stem is not None:
        title += f", {stem} stem"
    channels = run.config.get("width.channels")
    if channels is not None:
        title += f", C = {channels}"
    for difference in differences:
        title += f", {difference}"
    return f"{title}, on {run.config.get('dataset.name')}"


@dataclass
class _Block:
    """One box of the diagram: a module, or a layer with the modules that belong to it."""

    name: str
    text: str
    """Types of the modules in the box."""
    output: list[int]
    """Shape of what comes out, without the batch."""
    parameters: int


def _blocks(modules: Sequence[Mapping[str, Any]]) -> list[_Block]:
    """Return modules as boxes.

    A block such as BasicBlock is one box, and so is a convolution with its norm and activation.

    Args:
        modules: all modules of the network in its order, those inside others included.
    """
    entries = {str(module["name"]): module for module in modules}
    parents: set[str] = set()
    for name in entries:
        parents.update(_parents(name))
    # Containers give no box themselves, as their modules do. Any other module with modules inside
    # is one box, and what is inside it is not shown.
    closed = set()
    for name in parents & entries.keys():
        if entries[name]["type"] not in CONTAINERS:
            closed.add(name)
    blocks: list[_Block] = []
    for name, module in entries.items():
        is_inside = not closed.isdisjoint(_parents(name))
        is_container = name in parents and name not in closed
        if is_inside or is_container or module["type"] == "Identity":
            continue
        block = _Block(
            name=name,
            text=str(module["type"]),
            output=list(module["output"]),
            parameters=int(module["parameters"]),
        )
        # A norm, an activation or a dropout joins the box of the layer before it. None of them
        # changes the shape, by which a module of an unknown type is told from them.
        is_layer = name in closed or re.search("Conv|Linear|Pool|Flatten", block.text)
        if blocks and not is_layer and blocks[-1].output == block.output:
            blocks[-1].text += f" + {block.text}"
            blocks[-1].parameters += block.parameters
        else:
            blocks.append(block)
    return blocks


def _parents(name: str) -> list[str]:
    """Return the names of the modules that a module lies in: a and a.b for a.b.c."""
    names = []
    parent, dot, _ = name.rpartition(".")
    while dot:
        names.append(parent)
        parent, dot, _ = parent.rpartition(".")
    return names


def _structure(image: Sequence[int], blocks: Sequence[_Block]) -> Figure:
    """Draw a column of boxes from the input down.

    Args:
        image: shape of the input, without the batch.
    """
    boxes = [_Block(name="", text="input", output=list(image), parameters=0), *blocks]
    figure = Figure(figsize=(WIDTH, PITCH * len(boxes) + 0.38))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(figure.get_figheight(), 0))
    axes.axis("off")
    middle = BOX_LEFT + BOX_WIDTH / 2
    # A line from each box to the next: the boxes let the ground through.
    for index in range(len(boxes) - 1):
        start = BOX_TOP + PITCH * index + BOX_HEIGHT
        end = BOX_TOP + PITCH * (index + 1)
        axes.plot([middle, middle], [start, end], color=MUTED, linewidth=0.8)
    for index, shade in enumerate(_shades(boxes)):
        box = FancyBboxPatch(
            (BOX_LEFT, BOX_TOP + PITCH * index),
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=shade,
            edgecolor=MUTED,
            linewidth=0.7,
        )
        axes.add_patch(box)
    _write_line(axes, 0, "name", "block", "output", "parameters")
    for number, block in enumerate(boxes, start=1):
        output = " × ".join(str(size) for size in block.output)
        parameters = f"{block.parameters:,}" if block.parameters else ""
        name = shorten_label(block.name)
        _write_line(axes, number, name, shorten_label(block.text), output, parameters)
    return figure


def _shades(boxes: Sequence[_Block]) -> list[Any]:
    """Return the boxes' colours: the input is white, each new resolution is darker.

    They let the ground through, which is light or dark.
    """
    # An output is channels x height x width; after flattening it has no resolution, which is
    # another step.
    resolutions = [tuple(box.output[1:]) for box in boxes]
    steps = list(dict.fromkeys(resolutions))
    shades: list[Any] = ["white"]
    for resolution in resolutions[1:]:
        number = steps.index(resolution) + 1
        shades.append((COLOURS[0], 0.5 * number / len(steps)))
    return shades


def _write_line(
    axes: Axes, number: int, name: str, block: str, output: str, parameters: str
) -> None:
    """Write one line of the diagram; line 0 is the heading."""
    y = HEADING_Y + PITCH * number
    strong = MUTED if number == 0 else INK
    axes.text(BOX_LEFT - 0.15, y, name, ha="right", va="center", size=8, color=MUTED)
    axes.text(BOX_LEFT + BOX_WIDTH / 2, y, block, ha="center", va="center", size=8, color=strong)
    axes.text(OUTPUT_RIGHT, y, output, ha="right", va="center", size=8, color=strong)
    axes.text(PARAMETERS_RIGHT, y, parameters, ha="right", va="center", size=8, color=strong)
