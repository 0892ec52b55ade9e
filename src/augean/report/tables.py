"""A table's columns, what flaws it and what it lacks, as text and as CSV; the templates set them into files."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pandas

from augean.report.statistics import MARGIN, STATES, Row, Table

__all__ = ["MARGIN"]  # for the caption's template


@dataclass(frozen=True)
class Column:
    heading: str
    cells: list[str]
    numeric: bool = True
    joined: bool = False
    """Belongs to the column before it, as an interval to its mean."""


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """A number for reading: "-" where there is none, a true minus sign, never "-0.00"."""
    if value is None or math.isnan(value):
        return "-"
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}".replace("-", "\u2212")


def percent(fraction: float | None) -> str:
    return number(None if fraction is None else 100 * fraction)


def seconds(value: float | None) -> str:
    return number(value, 1 if value is not None and value < 100 else 0)


def columns(table: Table) -> list[Column]:
    """What the table shows; columns that would be empty are left out."""
    rows, baseline = table.rows, table.baseline

    def texts(heading: str, text: Callable[[Row], str], *, numeric: bool = True, joined: bool = False) -> Column:
        return Column(heading, [text(row) for row in rows], numeric, joined)

    def signed(heading: str, value: Callable[[Row], float]) -> Column:
        return texts(heading, lambda row: number(value(row), signed=True))

    def interval(heading: str, value: Callable[[Row], float]) -> Column:
        return texts(heading, lambda row: "-" if math.isnan(value(row)) else f"± {number(value(row))}", joined=True)

    result = [
        texts((table.sweep.record.row_key or "row").removesuffix(".name"), lambda row: row.label, numeric=False),
        texts("n", lambda row: str(row.accuracy.n)),
        texts("test, %", lambda row: number(row.accuracy.mean)),
        interval("95 % interval", lambda row: row.accuracy.half_width),
        texts("sd", lambda row: number(row.accuracy.sd)),
    ]
    if baseline is not None and len(rows) > 1:
        result += [
            signed(f"to {baseline}", lambda row: row.difference.value),
            interval("its interval", lambda row: (row.difference.high - row.difference.low) / 2),
            texts("verdict", lambda row: row.difference.verdict, numeric=False),
        ]
    result += [
        texts("validation, %", lambda row: number(row.val_accuracy)),
        texts("seconds", lambda row: seconds(row.seconds)),
    ]
    if any(row.published for row in rows):
        result += [
            texts("published, %", lambda row: number(published(row))),
            signed("ours\u00a0− published", lambda row: row.accuracy.mean - published(row)),
            texts("published seconds", lambda row: seconds(published(row, "seconds"))),
        ]
    if any(row.states.total() > row.states["finished"] for row in rows):
        result.append(texts("without a score", lambda row: _listed(row.states, STATES[1:]), numeric=False))
    return result


def csv(table: Table) -> str:
    """All numbers of the table in full; an empty cell is a number that does not exist."""
    lines = [
        {"row": row.label, "n": row.accuracy.n, "test_accuracy": row.accuracy.mean}
        | {"half_width_95": row.accuracy.half_width, "sd": row.accuracy.sd}
        | {f"difference_{key}".removesuffix("_value"): value for key, value in asdict(row.difference).items()}
        | {"val_accuracy": row.val_accuracy, "seconds": row.seconds, "published_test_accuracy": published(row)}
        | {"published_difference": row.accuracy.mean - published(row), "published_seconds": published(row, "seconds")}
        | {state: row.states[state] for state in STATES}
        for row in table.rows
    ]
    frame = pandas.DataFrame(lines, columns=None if lines else ["row", "n", "test_accuracy"])
    return frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def published(row: Row, key: str = "test_accuracy") -> float:
    return row.published.get(key, math.nan)


def facts(table: Table) -> dict[str, "Counter[str]"]:
    """What the caption states of the runs: by config key its values and how many runs have each."""
    found: dict[str, Counter[str]] = {}
    for run in table.runs:
        device, sizes = (
            str(run.get("device")),
            [f"{run.get(f'num_{part}') or 0:,}" for part in ("train", "val", "test")],
        )
        split = f"{sizes[0]} + {sizes[1]} training and validation images, {sizes[2]} test images"
        versions = [f"{key.removeprefix('versions.')} {run[key]}" for key in run if key.startswith("versions.")]
        values = {
            "dataset": f"{run.get('dataset_title')} ({split})",
            "trainer.epochs": f"{run.get('trainer.epochs')} epochs",
            "trainer.batch_size": f"batch size {run.get('trainer.batch_size')}",
            "device": f"{device}, threads: {run.get('threads')}" if device.startswith("cpu") else device,
            "trainer.precision": str(run.get("precision")),
            "versions": ", ".join(versions),
        }
        for key, value in values.items():
            found.setdefault(key, Counter())[value] += 1
    return found


def warnings(table: Table) -> list[str]:
    """What a reader must know before comparing the rows; a table that sweeps a key is not blamed for mixing it."""
    mixed = []
    for key, values in facts(table).items():
        if len(values) > 1 and not (table.sweep.record.row_key or "").startswith(key):
            listed = "; ".join(f"{value} ({runs_text(count)})" for value, count in values.most_common())
            mixed.append(f"Mixed {key}: {listed}.")
    return [*mixed, *table.warnings]


def gap(table: Table) -> str:
    """What is not finished, such as "1 failed, 2 missing"; "" where nothing is left to do."""
    return _listed(table.states, STATES[2:])


def _listed(states: "Counter[str]", names: tuple[str, ...]) -> str:
    return ", ".join(f"{states[name]} {name}" for name in names if states[name])


def bare(title: str) -> str:
    """A title without "Table 1:", for LaTeX, which numbers tables itself."""
    return re.sub(r"^Table\s+\d+\s*[:.]\s*(?=\S)", "", title)


def anchor(name: str) -> str:
    """Where a page or a document refers to the table of that record."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"table-{name}")


def runs_text(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


_TEX_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar"}
_TEX = {character: f"\\text{name}{{}}" for character, name in _TEX_NAMES.items()}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_TEX |= {character: f"{{{character}}}" for character in "[]*"}  # after the end of a row these would be its options
_TEX |= {"±": r"$\pm$", "\u2212": "$-$", "\u00a0": "~", "\n": " ", '"': "''"}


def tex(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


def markdown(text: str) -> str:
    """Plain text for a Markdown table or paragraph."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
