"""`augean pack` and `unpack`: move runs between machines as one file."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from augean.cli.parser import Commands, add_command, add_outputs_option, path_argument
from augean.terminal import counted

if TYPE_CHECKING:
    from augean.store.archive.merge import MergedRun


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "pack",
        run_pack,
        summary="the small files of all runs and records, without weights, as one archive",
    )
    add_outputs_option(parser)
    parser.add_argument(
        "--to",
        type=archive_file,
        default=Path("runs.tar.xz"),
        help="archive (default: runs.tar.xz)",
    )
    parser = add_command(
        commands,
        "unpack",
        run_unpack,
        summary="merge an archive of runs made elsewhere into an output directory",
    )
    parser.add_argument("archive", type=path_argument, help="an archive that augean pack made")
    add_outputs_option(parser)


def archive_file(text: str) -> Path:
    """Read the name of the archive to write, as the `type` of an option.

    Raises:
        argparse.ArgumentTypeError: for another ending than that of what is written.
    """
    path = path_argument(text)
    if not path.name.endswith((".tar.xz", ".txz")):
        stem = path.name.partition(".")[0] or "runs"
        raise argparse.ArgumentTypeError(
            f"{text}: an archive is a .tar.xz; name it {path.parent / f'{stem}.tar.xz'}"
        )
    return path


def run_pack(arguments: argparse.Namespace) -> int:
    """Write an archive of small files; return 2 where something had to be left out."""
    from augean.store.archive.packing import pack

    is_replaced = arguments.to.exists()
    problems = pack(arguments.outputs, arguments.to)
    for problem in problems:
        print(problem, file=sys.stderr)
    remark = ", in place of the older archive of that name" if is_replaced else ""
    print(f"Packed: {arguments.to}, {arguments.to.stat().st_size:,} bytes{remark}")
    return 2 if problems else 0


def run_unpack(arguments: argparse.Namespace) -> int:
    """Merge an archive into an output directory and print how many runs had which outcome."""
    from augean.store.archive.packing import unpack

    merged = unpack(arguments.archive, arguments.outputs)
    for remark in merged.remarks:
        print(remark, file=sys.stderr)
    print(f"{arguments.outputs}: {describe_runs(merged.runs)}")
    return 0


def describe_runs(counts: "Counter[MergedRun]") -> str:
    """Return what was done with the runs of an archive, such as `1 run added, 2 completed`."""
    from augean.store.archive.merge import MergedRun

    texts: list[str] = []
    for outcome in MergedRun:
        number = counts[outcome]
        if number == 0:
            continue
        # The first number has the noun.
        text = f"{number:,}" if texts else counted(number, "run")
        words = str(outcome)
        if outcome == MergedRun.KEPT:
            words = "kept as it was" if number == 1 else "kept as they were"
        texts.append(f"{text} {words}")
    return ", ".join(texts) or "no runs"
