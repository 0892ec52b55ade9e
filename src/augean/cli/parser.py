"""The argument parser of all commands: examples on every help page, suggestions after mistakes."""

import argparse
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Type of the object to which each module adds its commands."""

EXIT_CODES = """
exit codes: 0 done; 1 a mistake that can be mended, or a run that failed; 2 wrong usage, or damaged
files that were passed over; 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1 (the same
command goes on from the checkpoint)
"""


class Parser(argparse.ArgumentParser):
    """Argument parser that answers a mistake with the most similar word, not a page of usage.

    Args:
        examples: lines of `augean ...` commands for the help page.
        options: keyword arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: str = "", **options: Any) -> None:
        epilog = textwrap.indent(EXIT_CODES, "  ")
        if examples:
            epilog = f"examples:{textwrap.indent(examples, '  ')}{epilog}"
        super().__init__(
            **options,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Print one line with a suggestion and exit with status 2."""
        hint = self._suggestion(message)
        self.exit(2, f"{self.prog}: {message}{hint}\n{self.prog} --help shows what there is\n")

    def _suggestion(self, message: str) -> str:
        from augean.suggestions import closest, did_you_mean

        match = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        if match is None:
            return ""
        wrong_word = match[1] or match[2]
        similar = closest(wrong_word, self._valid_words())
        # An option of another command is among the valid words: do not suggest the word itself.
        return did_you_mean([name for name in similar if name != wrong_word])

    def _valid_words(self) -> list[str]:
        """Return all choices of this parser, and the options of its commands."""
        words: list[str] = []
        for action in self._actions:
            words += action.choices or ()
            if isinstance(action.choices, dict):
                for parser in action.choices.values():
                    words += parser._option_string_actions
        return words


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    examples: str = "",
) -> Parser:
    """Add a command and the function that runs it and returns its exit code."""
    parser = commands.add_parser(name, help=summary, description=summary, examples=examples)
    parser.set_defaults(function=run)
    return parser


def add_outputs_option(parser: Parser) -> None:
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="output directory (default: outputs)"
    )


def add_config_dir_option(parser: Parser) -> None:
    parser.add_argument("-cd", "--config-dir", type=Path, help="folder of a sweep file of your own")


def positive_number(text: str) -> int:
    """Read a whole number of at least 1, as the `type` of an option.

    Raises:
        argparse.ArgumentTypeError: for anything else; argparse adds the option's name.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)
