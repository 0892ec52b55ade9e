"""`augean diff`: what differs between two runs."""

import argparse
from typing import TYPE_CHECKING, Any

from augean.cli.parser import Commands, add_command, add_outputs_option

if TYPE_CHECKING:
    from augean.analysis.difference import Entry, RunDifference

DIFF_EXAMPLES = """
augean diff 3f2a 91bc                          two runs by the beginnings of their ids
augean diff best:table1_activation 3f2a        the best run of a sweep and another one
augean diff outputs/runs/<run> old/runs/<run>  the same run, made twice
"""
LONGEST_VALUE = 60
"""Characters of a value; a longer one is cut."""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "diff",
        run_diff,
        summary="what differs between two runs: config, data, code, environment, scores",
        examples=DIFF_EXAMPLES,
    )
    for name in ("first", "second"):
        parser.add_argument(
            name, help="beginning of a run's id, path of its directory, or best:<sweep>"
        )
    add_outputs_option(parser)


def run_diff(arguments: argparse.Namespace) -> int:
    """Print what differs between two runs."""
    from augean.analysis.difference import compare_runs
    from augean.store.find_run import find_run

    first = find_run(arguments.first, arguments.outputs)
    second = find_run(arguments.second, arguments.outputs)
    print(f"first:  {first}")
    print(f"second: {second}")
    print(*describe_difference(compare_runs(first, second)), sep="\n")
    return 0


def describe_difference(difference: "RunDifference") -> list[str]:
    """Return the lines that show a comparison."""
    lines = []
    # Sections without a difference share one line at the end.
    equal_sections = []
    for name, entries in difference.sections.items():
        if entries:
            lines += [f"{name}:", *_align([_shown(entry) for entry in entries])]
        else:
            equal_sections.append(name)
    if equal_sections:
        lines.append(f"the same: {', '.join(equal_sections)}")
    if difference.scores:
        lines += ["scores:", *_align([_shown_score(entry) for entry in difference.scores])]
    lines += difference.remarks
    return lines


def _shown(entry: "Entry") -> list[str]:
    return [entry.name, _text(entry.first), _text(entry.second)]


def _text(value: Any) -> str:
    """Return a value as a cell; a dash for one that the run does not have."""
    if value is None:
        return "-"
    text = str(value)
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE - 3]}..."
    return text


def _shown_score(entry: "Entry") -> list[str]:
    """Return the cells of a score: accuracies in percent, their difference in points."""
    is_accuracy = entry.name.endswith("accuracy")
    name = f"{entry.name}, %" if is_accuracy else entry.name
    cells = [name]
    for value in (entry.first, entry.second):
        cells.append(_score_text(value, is_accuracy=is_accuracy))
    change = entry.change
    if change is not None:
        sign = "+" if change >= 0 else ""  # the minus comes with the number
        cells.append(f"{sign}{_score_text(change, is_accuracy=is_accuracy)}")
    return cells


def _score_text(value: float | None, *, is_accuracy: bool) -> str:
    if value is None:
        return "-"
    if is_accuracy:
        return f"{100 * value:.2f}"
    return f"{value:.5g}"


def _align(rows: list[list[str]]) -> list[str]:
    """Return the rows as lines, their cells below each other."""
    # Rows may lack their last cells, so each column is measured over the rows that have it.
    widths: list[int] = []
    for column in range(max(len(row) for row in rows)):
        widths.append(max(len(row[column]) for row in rows if column < len(row)))
    lines = []
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines
