"""`augean bench`: the throughput of the training core."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augean.cli.parser import Commands, add_command, check_output, path_argument, positive_number
from augean.errors import AugeanError
from augean.store.files import write_atomic
from augean.terminal import counted

if TYPE_CHECKING:  # they import torch, which other commands need not wait for
    from augean.benchmark.measure import Setting
    from augean.benchmark.measurement import Measurement

EXAMPLES = """
augean bench --channels 16 --images 512                    one width
augean bench model=torchvision dataset.image_size=224      torchvision's ResNet-18
"""
DEFAULT_WIDTHS = (16, 64)
DEFAULT_BATCHES = 10
"""Batches of one epoch."""
LOOPS = ("ordinary", "expert", "core", "core+compile", "core+fused", "core+host")


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
        help="widths (default: 16 64; a network of torchvision has its own)",
    )
    parser.add_argument(
        "--loops",
        nargs="+",
        default=["ordinary", "expert", "core"],
        choices=LOOPS,
        help="what to measure (default: ordinary expert core); ratios are to the first",
    )
    parser.add_argument(
        "--images", type=positive_number, help="images of one epoch (default: 10 batches)"
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
    parser.add_argument("--output", type=path_argument, help="JSON file for the result")


def run_bench(arguments: argparse.Namespace) -> int:
    """Measure the training core at each width, and print a table for each."""
    from augean.benchmark.measure import (
        BenchPlan,
        check_epoch,
        measure_ceiling,
        measure_loops,
        prepare_machine,
    )
    from augean.config.compose import compose

    if arguments.epochs < 2:
        raise AugeanError(
            f"--epochs {arguments.epochs}: must be at least 2, as the first is not counted"
        )
    check_output(arguments.output)
    # A wrong override ends the command before any measurement.
    overrides_by_width = _add_widths(arguments.overrides, arguments.channels)
    configs = [compose(overrides) for overrides in overrides_by_width]
    plan = BenchPlan(
        loops=arguments.loops,
        at_once=arguments.at_once,
        images=arguments.images or DEFAULT_BATCHES * configs[0].trainer.batch_size,
        epochs=arguments.epochs,
        repeats=arguments.repeats,
    )
    for config in configs:
        check_epoch(config, plan)
    machine = prepare_machine(configs[0])
    threads = counted(machine.threads, "thread")
    print(f"{machine.device}, {threads}, torch {machine.versions['torch']}")
    print(
        f"Large copy: {machine.copy_gb_per_second:,.0f} GB/s. {counted(plan.epochs, 'epoch')} of"
        f" {counted(plan.images, 'image')}; processes a line: {plan.repeats}."
    )
    entries: list[dict[str, Any]] = []
    for config, overrides in zip(configs, overrides_by_width, strict=True):
        setting = measure_ceiling(config)
        _print_setting(setting)
        entries.append({})
        for measurements in measure_loops(setting, overrides, plan):
            loops = [asdict(measurement) for measurement in measurements]
            entries[-1] = {**asdict(setting), "loops": loops}
            # After each process, as the next one may fail or be stopped.
            if arguments.output is not None:
                _write(arguments.output, {**asdict(machine), "measurements": entries})
        _print_measurements(measurements)
    if arguments.output is not None:
        print(f"Written: {arguments.output}")
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def _add_widths(overrides: list[str], channels: list[int] | None) -> list[list[str]]:
    """Return the overrides of each configuration: one for each width.

    Raises:
        AugeanError: for widths of a network that has its own.
    """
    from augean.config.compose import compose

    has_own_width = compose(overrides).width.channels is None
    if has_own_width and channels:
        raise AugeanError(f"--channels {channels[0]}: the network has its own width; leave it out")
    if has_own_width:
        return [overrides]
    return [[*overrides, f"width.channels={number}"] for number in channels or DEFAULT_WIDTHS]


def _print_setting(setting: "Setting") -> None:
    """Print one line over the table of a configuration, before its loops run for minutes."""
    print(
        f"\n{setting.model}, C={setting.channels or 'its own'}, {setting.precision}, batch"
        f" {setting.batch_size}: {setting.gflop_per_step:,.1f} GFLOP a step; matrix product"
        f" {setting.matrix_tflops:,.2f} TFLOP/s",
        flush=True,
    )


def _print_measurements(measurements: Sequence["Measurement"]) -> None:
    """Print one line a measurement, with ratios to the first.

    "4 x core" are four processes at once, with their total rate.
    """
    # "35 x 50,000": `Measurement.full_run_seconds`.
    print(
        f"{'loop':<17}{'images/s (range)':>28}{'ratio':>8}{'of matrix rate':>16}{'first step':>12}"
        f"{'35 x 50,000':>13}{'ratio':>8}{'memory':>11}"
    )
    # Ratios are to the first loop; that of times is inverted, so that more than 1 is always faster.
    first = measurements[0]
    for item in measurements:
        name = item.loop if item.at_once == 1 else f"{item.at_once} x {item.loop}"
        rates = f"{item.images_per_second:,.0f} ({item.slowest:,.0f}-{item.fastest:,.0f})"
        speed_ratio = item.images_per_second / first.images_per_second
        time_ratio = first.full_run_seconds / item.full_run_seconds
        cells = [
            f"{name:<17}",
            f"{rates:>28}",
            f"{speed_ratio:>7.2f}x",
            f"{item.share_of_matrix_rate:>16.1%}",
            f"{item.first_step_seconds:>10.1f} s",
            f"{item.full_run_seconds:>11,.0f} s",
            f"{time_ratio:>7.2f}x",
            f"{item.peak_memory_mb:>8,.0f} MB",
        ]
        print("".join(cells), flush=True)
