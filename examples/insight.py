"""Look inside a trained run: a 2-D loss surface around its weights, and its first-layer filters.

    python examples/insight.py outputs/runs/<run> [--points 21] [--images 512] [--span 1.0] [--to
    insight]

The surface follows Li, Xu, Taylor, Studer and Goldstein 2018, "Visualizing the Loss Landscape of
Neural Nets": two random directions, each filter of a direction scaled to the norm of the network's
own filter; biases and norms stay. Batch norm uses its running statistics, so that the surface is
that of the network as it is evaluated.
"""

import argparse
import dataclasses
import io
from pathlib import Path

import numpy
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from augean.config.compose import compose
from augean.config.schema import Config
from augean.runs.address import build_source
from augean.store.run_directory import read_verified
from augean.training.build import build_model
from augean.training.data import Split, load_data
from augean.training.loop import evaluate


def load_run(path: Path, data: str) -> tuple[nn.Module, Split, Config]:
    """The trained network in evaluation mode, its test split and its config."""
    config = compose([f"runtime.data={data}"], folder=path.resolve())
    config = dataclasses.replace(
        config, trainer=dataclasses.replace(config.trainer, precision="fp32")
    )
    node = config.dataset
    splits = load_data(
        build_source(config),
        node.num_val,
        node.num_train,
        node.split_seed,
        torch.device("cpu"),
        data_on="device",
    )
    network = build_model(config, len(splits.classes))
    weights = io.BytesIO(read_verified(path, "best.pt"))
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval(), splits.test, config


def filter_normalised_direction(network: nn.Module, generator: torch.Generator) -> list[Tensor]:
    """A random direction, one tensor per parameter: each filter with the norm of the network's,
    vectors zero.
    """
    direction = []
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim < 2:
            noise.zero_()
        else:
            norms = [tensor.flatten(1).norm(dim=1) for tensor in (parameter.detach(), noise)]
            noise *= (norms[0] / norms[1]).view(-1, *[1] * (parameter.ndim - 1))
        direction.append(noise)
    return direction


def loss_surface(
    network: nn.Module, split: Split, config: Config, steps: list[float]
) -> numpy.ndarray:
    """Loss at w + x a + y b for all x, y in `steps`: [y, x]. The weights are put back."""
    generator = torch.Generator().manual_seed(0)
    across, along = (filter_normalised_direction(network, generator) for _ in range(2))
    start = [parameter.detach().clone() for parameter in network.parameters()]
    surface = numpy.empty((len(steps), len(steps)))
    with torch.no_grad():
        for row, y in enumerate(steps):
            for column, x in enumerate(steps):
                for parameter, value, a, b in zip(
                    network.parameters(), start, across, along, strict=True
                ):
                    parameter.copy_(value + x * a + y * b)
                surface[row, column] = evaluate(network, split, config).loss
        for parameter, value in zip(network.parameters(), start, strict=True):
            parameter.copy_(value)
    return surface


def draw_surface(surface: numpy.ndarray, steps: list[float], title: str) -> Figure:
    """Contours on a logarithmic scale; the cross marks the trained network."""
    figure = Figure(figsize=(5.4, 4.6), layout="tight")
    axes = figure.subplots()
    finite = numpy.where(
        numpy.isfinite(surface), surface, numpy.nanmax(surface[numpy.isfinite(surface)])
    )
    levels = numpy.geomspace(max(finite.min(), 1e-3), finite.max() * 1.001, 16)
    filled = axes.contourf(steps, steps, finite, levels=levels, cmap="viridis", norm="log")
    lines = axes.contour(steps, steps, finite, levels=levels[::3], colors="white", linewidths=0.7)
    axes.clabel(lines, fmt="%.2g", fontsize=7)
    axes.plot(0, 0, "+", color="white", markersize=12, markeredgewidth=2)
    axes.set(xlabel="first direction", ylabel="second direction", title=title)
    bar = figure.colorbar(filled, label="test loss", ticks=levels[::3])
    bar.ax.set_yticklabels([f"{level:.2g}" for level in levels[::3]])
    return figure


def draw_filters(network: nn.Module) -> Figure:
    """The first convolution's filters as colour images, each scaled to its own range."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    filters = first.weight.detach()  # [filters, 3, height, width]
    columns = min(len(filters), 16)
    rows = -(-len(filters) // columns)
    figure = Figure(figsize=(columns * 0.5, rows * 0.5 + 0.3))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, one in zip(panels, filters, strict=False):
        low, high = one.min(), one.max()
        panel.imshow(
            ((one - low) / (high - low).clamp(min=1e-12)).permute(1, 2, 0).numpy(),
            interpolation="nearest",
        )
    figure.suptitle(f"{len(filters)} first-layer filters", fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a finished run")
    parser.add_argument("--data", default="data", help="folder of the data sets (default: data)")
    parser.add_argument(
        "--points", type=int, default=21, help="points along each direction (default: 21)"
    )
    parser.add_argument(
        "--images", type=int, default=512, help="test images for the loss (default: 512)"
    )
    parser.add_argument(
        "--span", type=float, default=1.0, help="farthest step along a direction (default: 1)"
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("insight"),
        help="folder for the pictures (default: insight)",
    )
    arguments = parser.parse_args()
    network, test, config = load_run(arguments.run, arguments.data)
    some = Split(test.images[: arguments.images], test.labels[: arguments.images])
    steps = numpy.linspace(-arguments.span, arguments.span, arguments.points).tolist()
    arguments.to.mkdir(parents=True, exist_ok=True)
    title = f"{config.model.name}: loss around the trained weights"
    pictures = {
        "surface": draw_surface(loss_surface(network, some, config, steps), steps, title),
        "filters": draw_filters(network),
    }
    for name, figure in pictures.items():
        path = arguments.to / f"{arguments.run.resolve().name}_{name}.png"
        figure.savefig(path, dpi=160)
        print(path)


if __name__ == "__main__":
    main()
