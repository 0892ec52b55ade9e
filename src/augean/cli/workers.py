"""`augean workers`: show or change how many processes train a running sweep."""

import argparse
from pathlib import Path

from augean.cli.parser import Commands, add_command, add_outputs_option, positive_number
from augean.terminal import counted

WORKERS_EXAMPLES = """
augean workers                                 the running sweeps that have several workers
augean workers table1_activation 2             two from now on: others leave at their checkpoint
"""
ONE_PROCESS = "A sweep of one process gets help by its own command in another terminal."
"""What to do about a sweep that has no workers."""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "workers",
        run_workers,
        summary="how many processes train a running sweep; a number changes that",
        examples=WORKERS_EXAMPLES,
    )
    parser.add_argument("sweep", nargs="?", default="", help="beginning of the sweep's name")
    parser.add_argument("number", nargs="?", type=positive_number, help="workers from now on")
    add_outputs_option(parser)


def run_workers(arguments: argparse.Namespace) -> int:
    """Print each sweep's number of workers, or change that of one sweep."""
    from augean.store.crew_size import read_crew, request_crew, supervised_sweeps
    from augean.suggestions import choose_by_name

    outputs: Path = arguments.outputs
    names = supervised_sweeps(outputs)
    things = f"sweeps with several workers in {outputs}"
    if arguments.number is None:
        matches = [name for name in names if name.startswith(arguments.sweep)]
        if names and not matches:
            # Refuses the name, and says which there are.
            choose_by_name(arguments.sweep, names, things)
        for name in matches:
            print(f"{name}: {counted(read_crew(outputs, name), 'worker')}")
        if not names:
            print(f"No sweep in {outputs} has several workers.")
        return 0
    name = choose_by_name(arguments.sweep, names, things, remarks=[ONE_PROCESS])
    before = read_crew(outputs, name)
    request_crew(outputs, name, arguments.number)
    print(f"{name}: {counted(arguments.number, 'worker')} from now on, {before} before")
    if arguments.number < before:
        print("Those that leave end at their next checkpoint; others go on with their runs.")
    return 0
