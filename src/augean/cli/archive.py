"""`augean pack` and `unpack`: move runs between machines as one file."""

import argparse
import sys
from pathlib import Path

from augean.cli.parser import Commands, add_command, add_outputs_option, path_argument


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
        type=path_argument,
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


def run_pack(arguments: argparse.Namespace) -> int:
    """Write an archive of small files; return 2 where something had to be left out."""
    from augean.store.archive.packing import pack

    problems = pack(arguments.outputs, arguments.to)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"Packed: {arguments.to}, {arguments.to.stat().st_size:,} bytes")
    return 2 if problems else 0


def run_unpack(arguments: argparse.Namespace) -> int:
    """Merge an archive into an output directory and print how many runs had which outcome."""
    from augean.store.archive.packing import unpack

    merged = unpack(arguments.archive, arguments.outputs)
    for remark in merged.remarks:
        print(remark, file=sys.stderr)
    # Outcomes such as "new" or "instead of an unfinished one".
    counts = [f"{number} runs {outcome}" for outcome, number in merged.runs.items()]
    print(f"{arguments.outputs}: {', '.join(counts) or 'no runs'}")
    return 0
