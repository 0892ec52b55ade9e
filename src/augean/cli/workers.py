"""`augean workers`: show or change how many processes train a running sweep."""

import argparse
from pathlib import Path

from augean.cli.parser import Commands, add_command, add_outputs_option, positive_number
from augean.errors import AugeanError

WORKERS_EXAMPLES = """
augean workers                                 the running sweeps that have several workers
augean workers table1_activation 2             two from now on: others leave at their checkpoint
"""


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

    outputs: Path = arguments.outputs
    names = supervised_sweeps(outputs)
    matches = [name for name in names if name.startswith(arguments.sweep)]
    if arguments.number is None:
        for name in matches:
            print(f"{name}: {read_crew(outputs, name)} workers")
        if not matches:
            print(f"No sweep in {outputs} has several workers.")
        return 0
    # A complete name counts more than the beginning of several.
    if arguments.sweep in names:
        matches = [arguments.sweep]
    if len(matches) != 1:
        raise AugeanError(_refusal(arguments.sweep, matches or names, outputs))
    before = read_crew(outputs, matches[0])
    request_crew(outputs, matches[0], arguments.number)
    print(f"{matches[0]}: {arguments.number} workers from now on, {before} before")
    if arguments.number < before:
        print("Those that leave end at their next checkpoint; others go on with their runs.")
    return 0


def _refusal(sweep: str, names: list[str], outputs: Path) -> str:
    """Return the message for a name that fits no sweep, or several."""
    return (
        f"{sweep}: names no single sweep with several workers in {outputs}; there are"
        f" {', '.join(names) or 'none'}\n"
        "A sweep of one process gets help by its own command in another terminal."
    )
