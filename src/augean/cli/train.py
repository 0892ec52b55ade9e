"""`augean train` and `augean submit`, whose command lines Hydra reads."""

import argparse
import sys
from collections.abc import Sequence

from augean.cli.completion import complete_overrides
from augean.cli.parser import Commands, Parser, add_command

SUBMIT_EXAMPLES = """
augean submit table1_activation                the missing runs, as a SLURM job array
augean submit table1_activation runtime.launcher.partition=gpu runtime.launcher.minutes=60
"""


def add_commands(commands: Commands) -> None:
    """Add both commands for the help page and for completion; see `hydra_words`."""
    parser = add_command(
        commands,
        "train",
        run_train,
        summary="train a run, a grid or a sweep file: the same as python train.py",
    )
    _add_overrides(parser)
    parser = add_command(
        commands,
        "submit",
        run_submit,
        summary="hand the missing runs of a sweep to SLURM: the same as"
        " augean train -cn <sweep> launcher=slurm",
        examples=SUBMIT_EXAMPLES,
    )
    parser.add_argument("sweep", help="name of a sweep file, such as table1_activation")
    _add_overrides(parser)


def _add_overrides(parser: Parser) -> None:
    action = parser.add_argument("overrides", nargs="*", help="Hydra's, such as model=resnet34")
    action.completer = complete_overrides  # type: ignore[attr-defined]


def hydra_words(words: Sequence[str]) -> list[str] | None:
    """Return the words for Hydra's own parser, or None for the commands that argparse reads.

    Hydra reads the command line of `train` and `submit`, `augean train --help` included: argparse
    would refuse Hydra's options.

    Args:
        words: the command line without the program's name.
    """
    if words[:1] == ["train"]:
        return list(words[1:])
    # Without the name of a sweep argparse shows the help page, or says what is missing.
    if words[:1] == ["submit"] and len(words) > 1 and not words[1].startswith("-"):
        return ["launcher=slurm", "-cn", *words[1:]]
    return None


def run_train(arguments: argparse.Namespace) -> int:
    return run_hydra(arguments.overrides)


def run_submit(arguments: argparse.Namespace) -> int:
    return run_hydra(["launcher=slurm", "-cn", arguments.sweep, *arguments.overrides])


def run_hydra(words: Sequence[str]) -> int:
    """Run the command line `augean train <words>`."""
    from augean.hydra_main import main

    # Hydra reads sys.argv, and the processes that it starts repeat this command.
    sys.argv = ["augean train", *words]
    main()
    return 0
