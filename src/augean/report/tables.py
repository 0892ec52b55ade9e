"""A table's columns, what flaws it and what it lacks, as text and as CSV; the templates set them
into files.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import pandas

from augean.analysis.comparison import MARGIN, STATES, Row, Table

__all__ = ["MARGIN"]  # for the caption's template
FACTS = (
    "dataset",
    "trainer.epochs",
    "trainer.batch_size",
    "device",
    "trainer.precision",
    "versions",
    "loop",
)
OURS = "ours\u00a0− published"


class Column(NamedTuple):
    heading: str
    kind: str
    """text, number, or joined: a number that belongs to the column before it, as an interval to its
    mean."""
    cells: list[str]


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """A number for reading: "-" where there is none, a true minus sign, never "-0.00"."""
    if value is None or math.isnan(value):
        return "-"
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}".replace("-", "\u2212")


def around(half_width: float) -> str:
    return "-" if math.isnan(half_width) else f"± {number(half_width)}"


def percent(fraction: float | None) -> str:
    return number(None if fraction is None else 100 * fraction)


def seconds(value: float | None) -> str:
    return number(value, 1 if value is not None and value < 100 else 0)


def columns(table: Table) -> list[Column]:
    """What the table shows; columns that would be empty are left out."""
    compared = table.baseline is not None and len(table.rows) > 1
    cited = any(row.published for row in table.rows)
    gaps = any(row.states.total() > row.states["finished"] for row in table.rows)
    key = ", ".join(table.sweep.record.row_keys).removesuffix(".name") or "row"
    shown: list[tuple[bool, str, str, Callable[[Row], str]]] = [
        (True, key, "text", lambda row: row.label),
        (True, "n", "number", lambda row: str(row.accuracy.n)),
        (True, "test, %", "number", lambda row: number(row.accuracy.mean)),
        (
            not table.sweep.record.design,
            "95 % interval",
            "joined",
            lambda row: around(row.accuracy.half_width),
        ),
        (True, "sd", "number", lambda row: number(row.accuracy.sd)),
        (
            compared,
            f"to {table.baseline}",
            "number",
            lambda row: number(row.difference.value, signed=True),
        ),
        (
            compared,
            "its interval",
            "joined",
            lambda row: around((row.difference.high - row.difference.low) / 2),
        ),
        (compared, "verdict", "text", lambda row: row.difference.verdict),
        (True, "validation, %", "number", lambda row: number(row.val_accuracy)),
        (True, "seconds", "number", lambda row: seconds(row.seconds)),
        (cited, "published, %", "number", lambda row: number(published(row))),
        (
            cited,
            OURS,
            "number",
            lambda row: number(row.accuracy.mean - published(row), signed=True),
        ),
        (cited, "published seconds", "number", lambda row: seconds(published(row, "seconds"))),
        (gaps, "without a score", "text", lambda row: _listed(row.states, STATES[1:])),
    ]
    return [
        Column(name, kind, [text(row) for row in table.rows])
        for wanted, name, kind, text in shown
        if wanted
    ]


def csv(table: Table) -> str:
    """All numbers of the table in full; an empty cell is a number that does not exist."""
    lines = [
        {"row": row.label, "n": row.accuracy.n, "test_accuracy": row.accuracy.mean}
        | {"half_width_95": row.accuracy.half_width, "sd": row.accuracy.sd}
        | {
            f"difference_{key}".removesuffix("_value"): value
            for key, value in row.difference._asdict().items()
        }
        | {
            "val_accuracy": row.val_accuracy,
            "seconds": row.seconds,
            "published_test_accuracy": published(row),
        }
        | {
            "published_difference": row.accuracy.mean - published(row),
            "published_seconds": published(row, "seconds"),
        }
        | {state: row.states[state] for state in STATES}
        for row in table.rows
    ]
    frame = pandas.DataFrame(lines, columns=None if lines else ["row", "n", "test_accuracy"])
    return frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def published(row: Row, key: str = "test_accuracy") -> float:
    return row.published.get(key, math.nan)


@lru_cache(
    maxsize=64
)  # the table's files, report.md and the page all ask for them, each more than once
def facts(table: Table) -> dict[str, "Counter[str]"]:
    """What the caption states of the runs: by config key its values, where known, and how many runs
    have each.
    """
    found: dict[str, Counter[str]] = {}
    for run in table.runs:
        device, sizes = (
            run.get("device"),
            [run.get(f"num_{part}") or 0 for part in ("train", "val", "test")],
        )
        split = (
            f" ({sizes[0]:,} + {sizes[1]:,} training and validation images, {sizes[2]:,} test"
            " images)" * any(sizes)
        )
        threads = (
            f", threads: {run['threads']}"
            if "threads" in run and str(device).startswith("cpu")
            else ""
        )
        values: list[Any] = [f"{run.get('dataset_title') or ''}{split}"]
        values += [f"{run.get('trainer.epochs', run.get('epochs'))} epochs"]
        values += [(size := run.get("trainer.batch_size")) and f"batch size {size}"]
        values += [device and f"{device}{threads}", run.get("precision")]
        values += [", ".join(f"{key[9:]} {run[key]}" for key in run if key.startswith("versions."))]
        for key, value in zip(FACTS, [*values, run.get("loop") or "Augean's"], strict=True):
            found.setdefault(key, Counter()).update([str(value)] if value else [])
    return found


def warnings(table: Table) -> list[str]:
    """What a reader must know before comparing the rows; a table that sweeps a key is not blamed
    for mixing it.
    """
    mixed = []
    for key, values in facts(table).items():
        swept = any(row_key.startswith(key) for row_key in table.sweep.record.row_keys)
        if len(values) > 1 and not swept:
            listed = "; ".join(
                f"{value} ({runs_text(count)})" for value, count in values.most_common()
            )
            mixed.append(f"Mixed {key}: {listed}.")
    return [*mixed, *table.warnings]


def gap(table: Table) -> str:
    """What is not finished, such as "1 failed, 2 missing"; "" where nothing is left to do."""
    return _listed(table.states, STATES[2:])


def _listed(states: "Counter[str]", names: tuple[str, ...]) -> str:
    return ", ".join(f"{states[name]} {name}" for name in names if states[name])


def anchor(name: str) -> str:
    """Where a page or a document refers to the table of that record."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"table-{name}")


def runs_text(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


_TEX_NAMES = {
    "\\": "backslash",
    "~": "asciitilde",
    "^": "asciicircum",
    "<": "less",
    ">": "greater",
    "|": "bar",
}
_TEX = {character: f"\\text{name}{{}}" for character, name in _TEX_NAMES.items()}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_TEX |= {
    character: f"{{{character}}}" for character in "[]*"
}  # after the end of a row these would be its options
_TEX |= {"±": r"$\pm$", "\u2212": "$-$", "\u00a0": "~", '"': "''"}


def line(text: str) -> str:
    """Text as one line, without control characters: what stands after a break would no longer be
    text.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def tex(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(_TEX.get(character, character) for character in line(text))


def markdown(text: str) -> str:
    """Plain text for a Markdown table or paragraph."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", line(text)).replace("<", "&lt;").replace(">", "&gt;")
