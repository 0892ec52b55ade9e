"""`augean bench`: the throughput of the training core."""

import argparse
from pathlib import Path

from augean.cli.parser import Commands, add_command, positive_number
from augean.errors import AugeanError

EXAMPLES = """
augean bench dataset=synthetic --channels 16 --images 256 on generated images
"""
LOOPS = ("ordinary", "expert", "core", "core+compile", "core+host")


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "bench",
        run_bench,
        summary="images per second of the training core beside other loops, and its share of the"
        " device's matrix rate",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "overrides", nargs="*", help="config overrides such as model=vgg_a trainer.precision=fp32"
    )
    parser.add_argument(
        "--channels",
        type=positive_number,
        nargs="+",
        default=[16, 64],
        help="widths (default: 16 64)",
    )
    parser.add_argument(
        "--loops",
        nargs="+",
        default=["ordinary", "expert", "core"],
        choices=LOOPS,
        help="what to measure (default: ordinary expert core); ratios are to the first",
    )
    parser.add_argument(
        "--images", type=positive_number, default=1280, help="images of one epoch (default: 1280)"
    )
    parser.add_argument(
        "--epochs",
        type=positive_number,
        default=3,
        help="epochs of one process; the first is not counted (default: 3)",
    )
    parser.add_argument(
        "--repeats", type=positive_number, default=3, help="processes of each loop (default: 3)"
    )
    parser.add_argument(
        "--at-once",
        type=positive_number,
        nargs="+",
        default=[1],
        help="so many processes at a time, one line for each number, with their total rate"
        " (default: 1)",
    )
    parser.add_argument("--output", type=Path, help="JSON file for the result")


def run_bench(arguments: argparse.Namespace) -> int:
    """Measure the training core at each width."""
    from augean.benchmark.measure import bench

    if arguments.epochs < 2:
        raise AugeanError(
            f"--epochs {arguments.epochs}: must be at least 2, as the first is not counted"
        )
    # One configuration for each width.
    settings = [
        [*arguments.overrides, f"width.channels={channels}"] for channels in arguments.channels
    ]
    bench(
        settings,
        arguments.loops,
        images=arguments.images,
        epochs=arguments.epochs,
        repeats=arguments.repeats,
        at_once=arguments.at_once,
        output=arguments.output,
    )
    return 0
