"""Say in one line a table what is decided, what is not, and what it would take."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from augean.analysis.comparison import Row, Table
from augean.analysis.outlook import MOST_SEEDS, outlook
from augean.analysis.sequential_design import design_of
from augean.analysis.verdict import Verdict
from augean.report.tables import interval, number, runs_text

MOST_NAMED = 3
"""Rows that a part of the line names."""
FEWEST_SEEDS = 3
"""Seeds a row from which a table can decide something."""


class Part(NamedTuple):
    """A part of the line, about the rows of one verdict."""

    text: str
    verdict: Verdict = Verdict.NOT_COMPARED
    """What the part is coloured by."""


class Finding(NamedTuple):
    """What a table has found."""

    name: str
    """Of the table's record."""
    title: str
    """Of the table, with what tells it from others of that title."""
    parts: list[Part]

    @property
    def text(self) -> str:
        """The whole line."""
        return "; ".join(part.text for part in self.parts)


def find(tables: Sequence[Table]) -> list[Finding]:
    """Return the lines of a report's tables."""
    titles = Counter(table.sweep.record.title for table in tables)
    return [_finding(table, titles) for table in tables]


def _finding(table: Table, titles: Mapping[str, int]) -> Finding:
    record = table.sweep.record
    title = record.title
    if titles[title] > 1 and record.overrides:
        title += f" ({' '.join(record.overrides)})"
    parts = list(_parts(table))
    num_left = table.states.total() - sum(
        count for state, count in table.states.items() if state.is_completed
    )
    if num_left:
        parts.append(Part(f"{num_left} of {runs_text(table.states.total())} not finished"))
    return Finding(name=record.name, title=title, parts=parts)


def _parts(table: Table) -> Iterator[Part]:
    if not table.rows:
        yield Part(_without_rows(table))
    elif not table.runs:
        yield Part("no run has a score yet")
    elif len(table.rows) == 1:
        yield Part(f"{_score(table.rows[0])}, nothing to compare with")
    elif table.baseline is None:
        yield Part("nothing is compared, as there is no baseline (runtime.table.baseline)")
    else:
        yield from _comparisons(table)


def _without_rows(table: Table) -> str:
    num_trials = len(table.sweep.record.trials)
    if num_trials:
        return f"a study of {num_trials} trials"
    return "no runs were asked for"


def _score(row: Row) -> str:
    """Return a row with its mean, such as "final 95.30 % (± 0.20) at n=3"."""
    text = f"{row.label} {number(row.accuracy.mean)} %"
    if not math.isnan(row.accuracy.half_width):
        text += f" ({interval(row.accuracy)})"
    return f"{text} at n={row.accuracy.n}"


def _comparisons(table: Table) -> Iterator[Part]:
    for verdict in (Verdict.BETTER, Verdict.WORSE):
        rows = _with_verdict(table, verdict)
        if rows:
            yield Part(_decided(rows, str(table.baseline), verdict), verdict)
    rows = _with_verdict(table, Verdict.EQUIVALENT)
    if rows:
        names = _named([row.label for row in rows])
        margin = f"±{rows[0].difference.margin:g} points"
        text = f"{names} equivalent to {table.baseline} within {margin}"
        yield Part(text, Verdict.EQUIVALENT)
    rows = _with_verdict(table, Verdict.UNDECIDED)
    if rows:
        names = _named([row.label for row in rows])
        text = f"{names} undecided{_what_it_takes(table)}"
        yield Part(text, Verdict.UNDECIDED)
    rows = _with_verdict(table, Verdict.NOT_COMPARED)
    if rows:
        yield Part(f"{_named([row.label for row in rows])} not compared: no score")


def _with_verdict(table: Table, verdict: Verdict) -> list[Row]:
    return [row for row in table.rows if row.difference.verdict is verdict]


def _decided(rows: Sequence[Row], baseline: str, verdict: Verdict) -> str:
    """Return such as "elu better than relu by 4.4 ± 3.5 points"."""
    if len(rows) > MOST_NAMED:
        extreme = max(rows, key=lambda row: abs(row.difference.value))
        amount = _amount(extreme)
        return (
            f"{len(rows)} rows {verdict} than {baseline}, most {extreme.label} by {amount} points"
        )
    names = _named([row.label for row in rows])
    amounts = _listed([_amount(row) for row in rows])
    return f"{names} {verdict} than {baseline} by {amounts} points"


def _amount(row: Row) -> str:
    half = (row.difference.high - row.difference.low) / 2
    # A second digit where the interval is narrow enough to give it a meaning.
    digits = 1 if half >= 1 else 2
    return f"{number(abs(row.difference.value), digits)} ± {number(half, digits)}"


def _what_it_takes(table: Table) -> str:
    """Return what would decide the undecided rows, as the end of a sentence."""
    needed = outlook(table)
    texts = []
    if needed.num_runs:
        texts.append(f"about {needed.num_runs:,} more {'run' if needed.num_runs == 1 else 'runs'}")
    if needed.single:
        texts.append(f"{FEWEST_SEEDS} seeds a row at least for {_named(needed.single)}")
    if needed.diverged:
        texts.append(f"{_named(needed.diverged)} for good, as runs diverged")
    if needed.hopeless:
        record = table.sweep.record
        most = design_of(record).most if record.design else MOST_SEEDS
        texts.append(f"{_named(needed.hopeless)} probably even at n={most}")
    if not texts:
        return ""
    return f" ({'; '.join(texts)})"


def _named(labels: Sequence[str]) -> str:
    """Return the first labels, and how many more there are."""
    # The label of a row of several keys has commas itself.
    quoted = [f"“{label}”" if "," in label else label for label in labels]
    if len(quoted) > MOST_NAMED:
        first = ", ".join(quoted[: MOST_NAMED - 1])
        return f"{first} and {len(quoted) - MOST_NAMED + 1} more rows"
    return _listed(quoted)


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
