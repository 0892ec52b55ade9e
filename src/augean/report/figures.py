"""Draw a table's curves and a confusion matrix, each as PNG and SVG."""

import io
import math
from collections.abc import Sequence, Set
from pathlib import Path

import numpy
import pandas
import seaborn
from matplotlib.figure import Figure

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.errors import AugeanError
from augean.report.plotting import (
    COLOURS,
    MARKERS,
    Looks,
    Picture,
    draw_unnamed,
    finish_figure,
    save_figure,
    shorten_label,
)
from augean.store.run_directory import read_verified, runs_dir


def draw_figures(
    contents: Contents, table: Table, metrics: pandas.DataFrame, folder: Path
) -> list[Picture]:
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
        pictures.append(save_figure(figure, folder, f"{record.name}_{kind}", caption.strip(), alt))

    if len(own):
        details = (
            f"Training dashed, validation solid. {_legend_text(table, set(own.row), len(others))}"
        )
        known = [
            part
            for part in ("accuracy", "loss")
            if own.filter(regex=f"_{part}$").notna().any(axis=None)
        ]
        for parts in [[part] for part in known] if single else [known] * bool(known):
            what, name = (
                f"{' and '.join(parts).capitalize()} per epoch",
                parts[0] if single else "curves",
            )
            keep(
                _curves(own, looks, others, parts),
                name,
                what,
                details,
                record.figure if not record.band else None,
            )
        if own.val_accuracy.notna().any():
            what = "Best validation accuracy so far against training time"
            keep(
                _against_time(own, looks, others),
                "time",
                what,
                "Mean over seeds; the marker is the end.",
            )
    if single and table.runs:
        best = max(table.runs, key=lambda run: run.get("val_accuracy") or 0.0)
        if (counts := _read_confusion(contents, best["directory"])) is not None:
            details = f"Of run {best['id']}, the one with the best validation accuracy."
            keep(_confusion(counts), "confusion", "Confusion matrix on the test set", details)
    return pictures


def _legend_text(table: Table, drawn: Set[str], num_others: int) -> str:
    most = max(row.accuracy.n for row in table.rows)
    text = (
        "Line: mean over seeds; band: smallest to largest of the validation."
        if most > 1
        else "One seed."
    )
    broken = [row.label for row in table.rows if row.label in drawn and not row.runs]
    text += (
        f" All runs diverged and are drawn up to where they broke off: {', '.join(broken)}."
        if broken
        else ""
    )
    return text + (
        f" Grey: {num_others} further rows of lower validation accuracy." if num_others else ""
    )


def _looks(table: Table, labels: Set[str]) -> tuple[Looks, list[str]]:
    """Of the rows with these labels those that are named, in the table's order, and the labels of
    the rest.
    """
    drawn = [row for row in table.rows if row.label in labels]
    best = sorted(
        drawn, key=lambda row: math.inf if math.isnan(row.val_accuracy) else -row.val_accuracy
    )
    named = {row.label for row in best[: len(MARKERS)]}
    kept = [row.label for row in drawn if row.label in named]
    looks = {label: (COLOURS[i % len(COLOURS)], MARKERS[i]) for i, label in enumerate(kept)}
    return looks, [row.label for row in drawn if row.label not in named]


def _curves(
    own: pandas.DataFrame, looks: Looks, others: Sequence[str], parts: Sequence[str]
) -> Figure:
    figure = Figure(figsize=(9.2 if len(parts) > 1 else 5.6, 3.3))
    names = [f"{kind}_{part}" for part in parts for kind in ("train", "val")]
    grouped = own.groupby(["row", "epoch"])[names].agg(["mean", "min", "max"])
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        scale = 100.0 if part == "accuracy" else 1.0
        for kind, dash, size in (("train", "--", 3.2), ("val", "-", 4.5)):
            wide = {
                key: grouped[f"{kind}_{part}", key].unstack("row") * scale
                for key in ("mean", "min", "max")
            }
            epochs = wide["mean"].index.to_numpy(float)
            for index, (row, (colour, marker)) in enumerate(looks.items()):
                # Rows take turns with their markers, so that a line below another one still shows.
                every = max(len(looks), len(epochs) // 6)
                turns = {
                    "marker": marker,
                    "ms": size,
                    "markevery": (index * every // len(looks) % len(epochs), every),
                }
                axes.plot(
                    epochs,
                    wide["mean"][row],
                    dash,
                    color=colour,
                    **(turns if len(looks) > 1 else {}),
                )
                if kind == "val" and (wide["max"][row] > wide["min"][row]).any():
                    axes.fill_between(
                        epochs, wide["min"][row], wide["max"][row], color=colour, alpha=0.13, lw=0
                    )
        draw_unnamed(
            axes, [numpy.column_stack((epochs, wide["mean"][row])) for row in others]
        )  # validation
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True, nbins=7)
        losses = own[["train_loss", "val_loss"]].to_numpy(float)
        losses = losses[numpy.isfinite(losses) & (losses > 0)]
        # A loss that starts in the hundreds, or ends near 0, hides everything else on a linear
        # axis.
        log = part == "loss" and len(losses) and losses.max() > 25 * numpy.median(losses)
        axes.set_title(
            "accuracy, %"
            if part == "accuracy"
            else f"cross-entropy loss{', log scale' if log else ''}"
        )
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        elif part == "loss":
            axes.set_ylim(bottom=0)
    validated = own.filter(regex="^val_").notna().any(axis=None)
    finish_figure(
        figure, looks, {"training": "--", "validation": "-"} if validated else {"training": "--"}
    )
    return figure


def _against_time(own: pandas.DataFrame, looks: Looks, others: Sequence[str]) -> Figure:
    runs = own.groupby("directory", observed=True, sort=False)
    elapsed = own.assign(elapsed=runs.seconds.cumsum(), best=100 * runs.val_accuracy.cummax())
    lines = elapsed.groupby(["row", "epoch"])[["elapsed", "best"]].mean()
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    draw_unnamed(axes, [lines.loc[row].to_numpy() for row in others])
    for row, (colour, marker) in looks.items():
        axes.plot(
            *lines.loc[row].to_numpy().T, color=colour, marker=marker, markevery=[-1], markersize=7
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("training time, seconds")
    axes.set_title("best validation accuracy so far, %")
    finish_figure(figure, looks, {})
    return figure


def _read_confusion(contents: Contents, directory: str) -> pandas.DataFrame | None:
    """Counts with the true classes down and the predicted ones across."""
    path = runs_dir(contents.outputs) / directory / "confusion.csv"
    try:
        file = io.BytesIO(read_verified(path.parent, path.name))
        counts = pandas.read_csv(file, index_col=0, dtype={0: str}, keep_default_na=False).astype(
            int
        )
        if not len(counts) or len(counts) != len(counts.columns):
            raise ValueError(f"{len(counts)} x {len(counts.columns)} numbers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AugeanError) as error:
        contents.note(path, f"not a confusion matrix ({error})")
        return None
    return counts.rename(index=shorten_label, columns=shorten_label).rename_axis(
        index="true", columns="predicted"
    )


def _confusion(counts: pandas.DataFrame) -> Figure:
    """Colour by the share of the true class, so that rare classes read as well as common ones."""
    size = 2.2 + 0.42 * min(len(counts), 12)
    figure = Figure(figsize=(size + 0.5, size), layout="tight")
    axes = figure.subplots()
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    bar = {"label": "share of the true class, %", "fraction": 0.045, "pad": 0.03}
    numbers = {"annot": counts, "fmt": "d", "annot_kws": {"size": 8 if len(counts) <= 12 else 6}}
    numbers = numbers if len(counts) <= 20 else {}
    seaborn.heatmap(
        share, cmap="Blues", vmin=0, vmax=100, square=True, cbar_kws=bar, ax=axes, **numbers
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure
