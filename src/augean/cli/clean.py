"""`augean clean`: show what can be removed from an outputs folder, and remove it."""

import argparse
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from augean.cli.parser import Commands, add_command, add_outputs_option, check_outputs
from augean.errors import AugeanError
from augean.terminal import counted

if TYPE_CHECKING:
    from augean.store.cleaning import Removable

CLEAN_EXAMPLES = """
augean clean                                   what could be removed, with sizes
augean clean weights --list                    every file of a kind
augean clean weights checkpoints --yes         removes these kinds
"""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "clean",
        run_clean,
        summary="what could be removed from the outputs, with sizes; nothing goes without --yes",
        examples=CLEAN_EXAMPLES,
    )
    parser.add_argument(
        "kinds",
        nargs="*",
        metavar="kind",
        help="weights, states, checkpoints, outdated or leftovers (default: show all)",
    )
    add_outputs_option(parser)
    parser.add_argument("--list", action="store_true", help="name every file")
    parser.add_argument("--yes", action="store_true", help="remove the kinds that are named")


def run_clean(arguments: argparse.Namespace) -> int:
    """Show what can be removed; with `--yes` remove the kinds that are named."""
    from augean.analysis.freshness import FreshnessCheck
    from augean.store.cleaning import KINDS, REMOVED, RESULTS, find_removable, remove
    from augean.store.summary import RunSummary

    outputs: Path = arguments.outputs
    _check(arguments, tuple(KINDS))
    freshness = FreshnessCheck(outputs)
    reasons: dict[str, str] = {}
    """By the id of each outdated run, what has changed."""

    def is_outdated(summary: RunSummary) -> bool:
        finding = freshness.check(summary)
        if finding.outdated == "yes":
            reasons[summary.id] = finding.reason
        return finding.outdated == "yes"

    removable = find_removable(outputs, is_outdated)
    # Without a named kind all are shown; `_check` has made sure that none is removed then.
    chosen = [item for item in removable if not arguments.kinds or item.kind in arguments.kinds]
    _show(chosen, reasons, arguments)
    if not chosen:
        print("There is nothing to remove.")
        return 0
    if not arguments.yes:
        kinds = dict.fromkeys(item.kind for item in chosen)
        # Results are removed by those alone who name them.
        if not arguments.kinds:
            kinds.pop(RESULTS, None)
        words = ["augean", "clean", *kinds, "--outputs", str(outputs), "--yes"]
        what = "all of this" if arguments.kinds else "what holds no result"
        advice = f" To remove {what}: {shlex.join(words)}" if kinds else ""
        print(f"Nothing was removed.{advice}")
        return 0
    result = remove(outputs, chosen)
    print(f"Removed: {_describe(result.removed)}; listed in {outputs / REMOVED}")
    if result.unlisted:
        paths = ", ".join(str(item.path) for item in result.unlisted)
        print(f"The disk is full even so: {outputs / REMOVED} has no line of {paths}")
    if result.locked:
        print(f"Left, as their runs are in training: {_describe(result.locked)}")
    return 0


def _show(
    chosen: "Sequence[Removable]", reasons: Mapping[str, str], arguments: argparse.Namespace
) -> None:
    """Print what can be removed, by kinds; with `--list` every file.

    Args:
        reasons: by the id of each outdated run, what has changed.
    """
    from rich.filesize import decimal

    from augean.store.cleaning import KINDS, RESULTS

    for kind, description in KINDS.items():
        items = [item for item in chosen if item.kind == kind]
        # A named kind gets its line even where there is nothing of it.
        if items or kind in arguments.kinds:
            print(f"{kind:11}  {_describe(items):>22}  {description}")
        if kind == RESULTS:
            # Whole results would go, so each has its reason; runs that share one share a line.
            for reason, number in Counter(reasons[str(item.run)] for item in items).items():
                print(f"  {counted(number, 'run')}: {reason} since")
    if arguments.list:
        for item in chosen:
            reason = f"  {reasons[str(item.run)]} since" if item.kind == RESULTS else ""
            print(f"  {item.path}  {decimal(item.num_bytes)}{reason}")


def _check(arguments: argparse.Namespace, kinds: Sequence[str]) -> None:
    """Refuse a missing folder, unknown kinds, and a removal of kinds that are not named.

    Raises:
        AugeanError: in these cases.
    """
    from augean.suggestions import list_choices

    check_outputs(arguments.outputs)
    for kind in arguments.kinds:
        if kind not in kinds:
            raise AugeanError(f"{kind}: is not a kind{list_choices(kind, kinds, '')}")
    if arguments.yes and not arguments.kinds:
        raise AugeanError(f"--yes: name what is to be removed, of {', '.join(kinds)}")


def _describe(items: "Sequence[Removable]") -> str:
    """Return the number of whole runs and of files, with their size."""
    from rich.filesize import decimal

    num_bytes = sum(item.num_bytes for item in items)
    # By their kind: of what was removed nothing says any more that it was a folder.
    num_runs = sum(item.kind == "outdated" for item in items)
    num_files = len(items) - num_runs
    counts = []
    if num_runs:
        counts.append(counted(num_runs, "run"))
    if num_files or not num_runs:
        counts.append(counted(num_files, "file"))
    return f"{' and '.join(counts)}, {decimal(num_bytes)}"
