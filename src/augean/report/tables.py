"""A table's columns, its caption and what it lacks, as text and as CSV; page.py sets them in HTML, Markdown and LaTeX."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas

from augean.report.load import Run
from augean.report.statistics import MARGIN, STATES, Row, Table

UNFINISHED = STATES[1:]
"""States that a row's cell names; a diverged run is a result, but not one that enters the mean."""


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


def seconds(value: float | None) -> str:
    return number(value, 1 if value is not None and value < 100 else 0)


def plus_minus(half_width: float) -> str:
    return "-" if math.isnan(half_width) else f"± {number(half_width)}"


def columns(table: Table) -> list[Column]:
    """What the table shows; columns that would be empty are left out."""
    rows, record = table.rows, table.sweep.record

    def numbers(
        heading: str, value: Callable[[Row], float], text: Callable[[float], str] = number, **more: Any
    ) -> Column:
        return Column(heading, [text(value(row)) for row in rows], **more)

    def signed(value: float) -> str:
        return number(value, signed=True)

    result = [
        Column((record.row_key or "row").removesuffix(".name"), [row.label for row in rows], numeric=False),
        numbers("n", lambda row: row.accuracy.n, lambda n: f"{n:.0f}"),
        numbers("test, %", lambda row: row.accuracy.mean),
        numbers("95 % interval", lambda row: row.accuracy.half_width, plus_minus, joined=True),
        numbers("sd", lambda row: row.accuracy.sd),
    ]
    if table.baseline is not None and len(rows) > 1:
        result += [
            numbers(f"to {table.baseline}", lambda row: row.difference.value, signed),
            numbers(
                "its interval", lambda row: (row.difference.high - row.difference.low) / 2, plus_minus, joined=True
            ),
            Column("verdict", [row.difference.verdict for row in rows], numeric=False),
        ]
    result += [
        numbers("validation, %", lambda row: row.val_accuracy),
        numbers("seconds", lambda row: row.seconds, seconds),
    ]
    if any(row.published for row in rows):
        result += [
            numbers("published, %", lambda row: published(row, "test_accuracy")),
            numbers("ours\u00a0− published", lambda row: row.accuracy.mean - published(row, "test_accuracy"), signed),
            numbers("published seconds", lambda row: published(row, "seconds"), seconds),
        ]
    lacking = [", ".join(f"{row.states[state]} {state}" for state in UNFINISHED if row.states[state]) for row in rows]
    if any(lacking):
        result.append(Column("without a score", lacking, numeric=False))
    return result


def published(row: Row, key: str) -> float:
    """The reference report's number for a row: test_accuracy in percent, or seconds."""
    return row.published.get(key, math.nan)


def csv(table: Table) -> str:
    """All numbers of the table in full; an empty cell is a number that does not exist."""
    values: dict[str, Callable[[Row], Any]] = {
        "row": lambda row: row.label,
        "n": lambda row: row.accuracy.n,
        "test_accuracy": lambda row: row.accuracy.mean,
        "test_accuracy_low": lambda row: row.accuracy.mean - row.accuracy.half_width,
        "test_accuracy_high": lambda row: row.accuracy.mean + row.accuracy.half_width,
        "sd": lambda row: row.accuracy.sd,
        "difference": lambda row: row.difference.value,
        "difference_low": lambda row: row.difference.low,
        "difference_high": lambda row: row.difference.high,
        "difference_p": lambda row: row.difference.p,
        "verdict": lambda row: row.difference.verdict,
        "val_accuracy": lambda row: row.val_accuracy,
        "seconds": lambda row: row.seconds,
        "published_test_accuracy": lambda row: published(row, "test_accuracy"),
        "published_difference": lambda row: row.accuracy.mean - published(row, "test_accuracy"),
        "published_seconds": lambda row: published(row, "seconds"),
    }
    frame = pandas.DataFrame({name: [value(row) for row in table.rows] for name, value in values.items()})
    for state in STATES:
        frame[state] = [row.states[state] for row in table.rows]
    return frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def _facts(run: Run) -> dict[str, str]:
    """What a caption states of a run."""
    device, versions = str(run.get("device")), [key for key in run if key.startswith("versions.")]
    sizes = [f"{run.get(key) or 0:,}" for key in ("num_train", "num_val", "num_test")]
    return {
        "data": f"{run.get('dataset_title')} ({sizes[0]} + {sizes[1]} training and validation images, {sizes[2]} test images)",
        "epochs": f"{run.get('trainer.epochs')} epochs",
        "batch sizes": f"batch size {run.get('trainer.batch_size')}",
        "devices": f"{device}, {run.get('threads')} threads" if device.startswith("cpu") else device,
        "precisions": str(run.get("precision")),
        "versions": ", ".join(f"{key.removeprefix('versions.')} {run[key]}" for key in versions),
    }


_KEYS = {
    "data": "dataset.",
    "epochs": "trainer.epochs",
    "batch sizes": "trainer.batch_size",
    "precisions": "trainer.precision",
}


def caption(table: Table) -> list[str]:
    """The caption's sentences after the title."""
    record, runs = table.sweep.record, table.runs
    note = [record.note] if record.note else []
    if not runs:
        return ["No run of this table is finished yet.", *note] if table.rows else note
    facts = [_facts(run) for run in runs]
    stated = [" / ".join(dict.fromkeys(fact[name] for fact in facts)) for name in facts[0]]
    counts = sorted({row.accuracy.n for row in table.rows})
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    chosen = "of the epoch with the best validation accuracy" if runs[0].get("num_val") else "of the last epoch"
    spread = "mean and 95 % t-interval over seeds" if counts[-1] > 1 else "one seed, so without an interval"
    sentences = [
        f"Data: {stated[0]}; {stated[1]}, {stated[2]}; {stated[3]}, {stated[4]}; {stated[5]}.",
        f"{n} seed{'s' if counts[-1] > 1 else ''}{' a row' if len(table.rows) > 1 else ''}; "
        f"test accuracy with the weights {chosen}: {spread}.",
    ]
    if table.method:
        sentences.append(
            f"Differences to {table.baseline} in percentage points by {table.method}; "
            f"equivalent: the interval lies within ±{MARGIN:g}."
        )
    elif table.baseline is not None and len(table.rows) > 1:
        sentences.append(f"Too few seeds to judge differences to {table.baseline}.")
    sentences.append("Seconds: median over seeds, training and evaluation.")
    return [*sentences, *note]


def warnings(table: Table) -> list[str]:
    """What a reader must know before comparing the rows."""
    facts, mixed = [_facts(run) for run in table.runs], []
    for name in facts[0] if facts else ():
        values = Counter(fact[name] for fact in facts)
        swept = (table.sweep.record.row_key or "").startswith(_KEYS.get(name, "\0"))
        if len(values) > 1 and not swept:
            listed = "; ".join(f"{value} ({runs_text(number)})" for value, number in values.most_common())
            mixed.append(f"Mixed {name}: {listed}.")
    return [*mixed, *table.warnings]


def bare_title(table: Table) -> str:
    """The title without "Table 1:", for LaTeX, which numbers tables itself."""
    return re.sub(r"^Table\s+\d+\s*[:.]\s*(?=\S)", "", table.sweep.record.title)


def runs_text(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def gap(table: Table) -> tuple[str, bool]:
    """What is not finished, as a sentence or "", and whether the record's command would fill it."""
    states: Counter[str] = Counter()
    for row in table.rows:
        states.update(row.states)
    open_states = [state for state in UNFINISHED if state != "diverged" and states[state]]
    if not open_states:
        return "", False
    listed = ", ".join(f"{states[state]} {state}" for state in open_states)
    return f"Not finished: {listed}, of {runs_text(states.total())}.", open_states != ["running"]


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # After the end of a table's row these would be read as its options.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "\u2212": "$-$",
    "\u00a0": "~",
    "\n": " ",
}


def tex(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


def markdown(text: str) -> str:
    """Plain text for a Markdown table or paragraph."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
