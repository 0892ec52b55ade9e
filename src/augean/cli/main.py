"""The console entry point `augean <command>`: dispatch, and exit codes of failures.

Nothing heavy is imported here nor by the modules of the commands, so that help and completion are
quick: each command imports what it needs when it runs.
"""

import argparse
import os
import sys
from pathlib import Path

from augean.cli import (
    archive,
    bench,
    clean,
    diff,
    inference,
    promote,
    report,
    sweeps,
    train,
    watch,
    workers,
)
from augean.cli.parser import Parser
from augean.errors import AugeanError, UsageError
from augean.passwords import hide_passwords
from augean.signals import exit_after_interrupt
from augean.system_errors import explain_system_error
from augean.terminal import exit_if_output_was_lost, guarded_streams
from augean.version import version

EXAMPLES = """
augean train model=resnet18 activation=elu                one run
augean train -m optimizer=sgd,adam seed=0,1,2             a grid
augean train -cn table1_activation experiment=demo        a sweep file, small
augean status                                             what is finished, what is missing
augean report                                             tables, figures and a page
"""


def main() -> None:
    """Run the command line `sys.argv`.

    Raises:
        SystemExit: with the command's exit code; with 1 and a message for a mistake that the user
            can mend.
    """
    # A user's own code is in the working directory. It comes last on the path, so that it hides no
    # installed package.
    try:
        sys.path.append(str(Path.cwd()))
    except FileNotFoundError:
        sys.exit("the current folder was removed: change to another one")
    # A closed pipe or a full disk behind standard output must not end a run.
    with guarded_streams(), exit_after_interrupt():
        _main()


def _main() -> None:
    try:
        # `train` and `submit` have Hydra's command line, all other commands argparse's.
        words_for_hydra = train.hydra_words(sys.argv[1:])
        if words_for_hydra is not None:
            train.run_hydra(words_for_hydra)
            return
        arguments = parse(build_parser())
        status = arguments.function(arguments)
        exit_if_output_was_lost()
        sys.exit(status)
    except ModuleNotFoundError as error:
        sys.exit(explain_system_error(error))
    except UsageError as error:
        print(hide_passwords(str(error), sys.argv[1:]), file=sys.stderr)
        sys.exit(2)
    except (AugeanError, OSError) as error:
        from augean.config.override_errors import explain_error

        # The words after the command may be overrides, which the explanation then names.
        message = explain_error(error, sys.argv[2:]) or str(error)
        sys.exit(hide_passwords(message, sys.argv[1:]))


def build_parser() -> Parser:
    """Return the parser of all commands, in the order of the help page."""
    parser = Parser(
        prog="augean",
        description="Ablation sweeps of image classifiers, from Hydra configs to tables.",
        examples=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"augean {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    train.add_commands(commands)
    sweeps.add_commands(commands)
    promote.add_commands(commands)
    watch.add_commands(commands)
    workers.add_commands(commands)
    report.add_commands(commands)
    diff.add_commands(commands)
    inference.add_commands(commands)
    archive.add_commands(commands)
    clean.add_commands(commands)
    bench.add_commands(commands)
    return parser


def parse(parser: Parser) -> argparse.Namespace:
    """Parse the command line, or complete it where a shell with argcomplete asks.

    Raises:
        SystemExit: 2 for a command line that is wrong.
        AugeanError: for a `--config-dir` that does not exist.
    """
    # argcomplete calls the program itself; it answers and exits inside this call.
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    arguments: argparse.Namespace
    arguments, unknown = parser.parse_known_args()
    # `--` ends the options; argparse leaves it among the unknown words.
    unknown = [word for word in unknown if word != "--"]
    if unknown:
        hint = report.SELECT_HINT if arguments.command == "report" else ""
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    folder = getattr(arguments, "config_dir", None)
    if folder is not None and not folder.is_dir():
        raise AugeanError(f"-cd {folder}: no such folder; name the one that holds your sweep files")
    return arguments
