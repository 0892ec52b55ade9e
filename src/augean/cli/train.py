"""`augean train` and `augean submit`, whose command lines Hydra reads."""

import argparse
import sys
from collections.abc import Sequence

from augean.cli.completion import complete_overrides
from augean.cli.parser import Commands, Parser, add_command, add_sweep_arguments, is_name
from augean.errors import UsageError

SUBMIT_EXAMPLES = """
augean submit table1_activation                the missing runs, as a SLURM job array
augean submit table1_activation runtime.launcher.partition=gpu runtime.launcher.minutes=60
augean submit -m optimizer=sgd,adam seed=0,1,2 a grid
"""
WHICH_SWEEP = (
    "the following arguments are required: sweep (a sweep file's name), or a grid such as"
    " -m optimizer=sgd,adam"
)


def add_commands(commands: Commands) -> None:
    """Add both commands for their help pages and for completion; see `hydra_words`."""
    parser = add_command(
        commands,
        "train",
        _refuse,
        summary="train a run, a grid or a sweep file: the same as python train.py",
    )
    _add_overrides(parser)
    parser = add_command(
        commands,
        "submit",
        _refuse,
        summary="hand the missing runs of a sweep to SLURM: the same as"
        " augean train -cn <sweep> launcher=slurm",
        examples=SUBMIT_EXAMPLES,
    )
    add_sweep_arguments(parser, sweep_help="name of a sweep file, such as table1_activation")


def _add_overrides(parser: Parser) -> None:
    action = parser.add_argument("overrides", nargs="*", help="Hydra's, such as model=resnet34")
    action.completer = complete_overrides  # type: ignore[attr-defined]


def hydra_words(words: Sequence[str]) -> list[str] | None:
    """Return the words for Hydra's own parser, or None for the commands that argparse reads.

    Hydra reads the command line of `train` and `submit`, `augean train --help` included: argparse
    would refuse Hydra's options.

    Args:
        words: the command line without the program's name.

    Raises:
        UsageError: for an option of `submit` that does not exist, or where no sweep is named.
    """
    if words[:1] == ["train"]:
        return list(words[1:])
    if words[:1] == ["submit"] and not {"-h", "--help"} & set(words):
        return submit_words(words[1:])
    return None


def submit_words(words: Sequence[str]) -> list[str]:
    """Return the words of `augean train` that submit a sweep; a name becomes `-cn <name>`.

    Raises:
        UsageError: for an option that does not exist, or where no sweep is named.
    """
    from augean.config.command_line import parse_options

    # A sweep is named in one of three ways: -cn <name>, <name>, or a grid with -m.
    options = parse_options(words)
    if options.config_name:
        return ["launcher=slurm", *words]
    names = [word for word in options.overrides if is_name(word)]
    if names:
        # The first one; Hydra refuses any others as overrides without a value.
        rest = list(words)
        rest.remove(names[0])
        return ["launcher=slurm", "-cn", names[0], *rest]
    if options.multirun:
        return ["launcher=slurm", *words]
    raise UsageError(f"{' '.join(['augean submit', *words])}: {WHICH_SWEEP}")


def _refuse(arguments: argparse.Namespace) -> int:
    """Refuse words that argparse has read: it is here for help pages, see `hydra_words`."""
    raise UsageError(f"augean {arguments.command}: {WHICH_SWEEP}")


def run_hydra(words: Sequence[str]) -> None:
    """Run the command line `augean train <words>`."""
    from augean.hydra_main import main

    # Hydra reads sys.argv, and the processes that it starts repeat this command.
    sys.argv = ["augean train", *words]
    main()
