"""Say in one line a table what is decided, what is not, and what it would take."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from augean.analysis.comparison import Row, Table
from augean.analysis.outlook import outlook
from augean.analysis.remarks import quote_label
from augean.analysis.verdict import Verdict
from augean.report import study_table
from augean.report.tables import all_diverged, amount, interval, number
from augean.store.record_titles import distinct_titles
from augean.terminal import counted

MAX_NAMED = 3
"""Rows that a part of the line names."""
FEWEST_SEEDS = 3
"""Seeds a row from which a table can decide something."""


class Part(NamedTuple):
    """A part of the line, about the rows of one verdict."""

    text: str
    verdict: Verdict = Verdict.NOT_COMPARED
    """Decides the part's colour on the page."""


class Finding(NamedTuple):
    """The line of one table."""

    name: str
    """Name of the table's record."""
    title: str
    """Title of the table, with what tells it from others of that title."""
    parts: list[Part]

    @property
    def text(self) -> str:
        """The whole line."""
        return "; ".join(part.text for part in self.parts)


def make_findings(tables: Sequence[Table]) -> list[Finding]:
    """Return a line for each table of a report."""
    titles = distinct_titles(table.sweep.record for table in tables)
    return [_finding(table, titles[table.sweep.record.name]) for table in tables]


def _finding(table: Table, title: str) -> Finding:
    parts = list(_parts(table))
    num_runs = table.states.total()
    num_unfinished = 0
    for state, count in table.states.items():
        if not state.is_completed:
            num_unfinished += count
    if num_unfinished:
        parts.append(Part(f"{num_unfinished} of {counted(num_runs, 'run')} not finished"))
    return Finding(name=table.sweep.record.name, title=title, parts=parts)


def _parts(table: Table) -> Iterator[Part]:
    """Yield what the scores say, or why they say nothing."""
    record = table.sweep.record
    if record.kind == "study":
        yield Part(study_table.sentence(record))
        # Rows without a baseline are those of its best trials, which it has just named.
        if len(table.rows) != 1 and table.baseline is None:
            return
    # From the fewest scores to the most: a later reason supposes that no earlier one holds.
    if not table.rows:
        yield Part("no runs were asked for")
    elif all_diverged(table.states):
        yield Part("all runs diverged")
    elif not table.runs:
        yield Part("no run has a score yet")
    elif len(table.rows) == 1:
        yield Part(f"{_score(table.rows[0])}, nothing to compare with")
    elif table.baseline is None and record.baseline is not None:
        # A selection or a launch without that row has left it out.
        baseline = quote_label(record.baseline)
        yield Part(f"nothing is compared, as the baseline {baseline} is not among the rows")
    elif table.baseline is None:
        yield Part("nothing is compared, as there is no baseline (runtime.table.baseline)")
    elif not _baseline(table).runs:
        baseline = quote_label(table.baseline)
        diverged = all_diverged(_baseline(table).states)
        why = "diverged in all its runs" if diverged else "has no score yet"
        yield Part(f"nothing is compared, as the baseline {baseline} {why}")
    else:
        yield from _comparisons(table)


def _baseline(table: Table) -> Row:
    """Return the row that a table compares with; it is among its rows."""
    return next(row for row in table.rows if row.label == table.baseline)


def _score(row: Row) -> str:
    """Return a row with its mean, such as "final 95.30 % (± 0.20) at n=3"."""
    text = f"{row.label} {number(row.accuracy.mean)} %"
    if not math.isnan(row.accuracy.half_width):
        text += f" ({interval(row.accuracy)})"
    diverged = f", {row.num_diverged} diverged" if row.num_diverged else ""
    return f"{text} at n={row.accuracy.n}{diverged}"


def _comparisons(table: Table) -> Iterator[Part]:
    """Yield a part for each verdict that rows have: decided ones first."""
    baseline = quote_label(str(table.baseline))
    for verdict in (
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.EQUIVALENT,
        Verdict.UNDECIDED,
        Verdict.NOT_COMPARED,
    ):
        rows = [row for row in table.rows if row.difference.verdict is verdict]
        if not rows:
            continue
        names = _names([row.label for row in rows])
        if verdict in (Verdict.BETTER, Verdict.WORSE):
            text = _decided(rows, baseline, verdict)
        elif verdict is Verdict.EQUIVALENT:
            margin = rows[0].difference.margin
            text = f"{names} equivalent to {baseline} within ±{margin:g} points"
        elif verdict is Verdict.UNDECIDED:
            text = f"{names} undecided{_what_it_takes(table)}"
        else:
            has_scores = any(row.runs for row in rows)
            text = f"{names} not compared{'' if has_scores else ': no score'}"
        yield Part(text, verdict)


def _decided(rows: Sequence[Row], baseline: str, verdict: Verdict) -> str:
    """Return a text such as "elu better than relu by 4.4 ± 3.5 points"."""
    if len(rows) > MAX_NAMED:
        largest = max(rows, key=lambda row: abs(row.difference.value))
        text = f"{len(rows)} rows {verdict} than {baseline}"
        return f"{text}, most {quote_label(largest.label)} by {_size(largest)} points"
    names = _names([row.label for row in rows])
    amounts = _join([_size(row) for row in rows])
    return f"{names} {verdict} than {baseline} by {amounts} points"


def _what_it_takes(table: Table) -> str:
    """Return what would decide the undecided rows, as the end of a sentence."""
    needed = outlook(table)
    # Rows differ in what would decide them, so there may be several texts.
    texts = []
    if needed.num_runs:
        texts.append(f"about {counted(needed.num_runs, 'more run')}")
    if needed.single:
        texts.append(f"{FEWEST_SEEDS} seeds a row at least for {_names(needed.single)}")
    if needed.diverged:
        texts.append(f"{_names(needed.diverged)} as the means lie now, as runs diverged")
    rows = {row.label for row in table.rows if row.difference.verdict is Verdict.UNDECIDED}
    probably = f"probably even at n={needed.most}"
    surely = f"even at n={needed.most}, the most"
    for labels, words in ((needed.hopeless, probably), (needed.exhausted, surely)):
        # What is said of all undecided rows needs no names.
        if labels:
            texts.append(words if rows == set(labels) else f"{_names(labels)} {words}")
    if not texts:
        return ""
    return f" ({'; '.join(texts)})"


def _size(row: Row) -> str:
    """Return a difference without its sign, with its interval, such as "4.4 ± 3.5"."""
    return amount(abs(row.difference.value), row.difference.half_width)


def _names(labels: Sequence[str]) -> str:
    """Return all labels, or the first ones and how many more there are."""
    quoted = [quote_label(label) for label in labels]
    if len(quoted) <= MAX_NAMED:
        return _join(quoted)
    first = quoted[: MAX_NAMED - 1]
    num_others = len(quoted) - len(first)
    return f"{', '.join(first)} and {num_others} more rows"


def _join(words: Sequence[str]) -> str:
    """Return the words as in a sentence: "a", "a and b", "a, b and c"."""
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} and {words[-1]}"
