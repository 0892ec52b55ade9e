"""The argument parser of all commands: examples on every help page, suggestions after mistakes."""

import argparse
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from augean.cli.completion import complete_overrides
from augean.errors import AugeanError

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
            allow_abbrev=False,  # a new option may make an abbreviation ambiguous
        )
        self._intermixes = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words in any order: options may stand between and behind the others.

        By itself argparse would not accept `status <sweep> --outputs <folder> key=value`: it reads
        the words before and after an option as one group only in its intermixed mode.
        """
        # That mode does not support sub-commands, so only their own parsers use it.
        has_commands = self._subparsers is not None
        completes = "_ARGCOMPLETE" in os.environ  # argcomplete follows the ordinary way
        # The method below may call this one again.
        if has_commands or completes or self._intermixes:
            return super().parse_known_args(args, namespace)
        self._intermixes = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixes = False

    def error(self, message: str) -> NoReturn:
        """Print one line with a suggestion and exit with status 2."""
        hint = self._suggestion(message)
        # An option with several values has taken an override that was written behind it.
        if re.match(r"argument --[\w-]+: .*?[\w.]+=", message):
            hint = "; overrides go before an option that takes several values"
        # No page of usage: it would hide the message.
        self.exit(2, f"{self.prog}: {message}{hint}\n{self.prog} --help shows what there is\n")

    def _suggestion(self, message: str) -> str:
        """Return the words most similar to the wrong one in argparse's message; may be empty."""
        from augean.suggestions import closest, did_you_mean

        match = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        if match is None:
            return ""
        wrong_word = match[1] or match[2]
        return did_you_mean(closest(wrong_word, self._valid_words()))

    def _valid_words(self) -> list[str]:
        """Return this parser's options, and the words that they and its arguments may be."""
        words = list(self._option_string_actions)
        for action in self._actions:
            words += action.choices or ()
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
    parser.set_defaults(function=run, parser=parser)
    return parser


def path_argument(text: str) -> Path:
    """Return the path that a command line names. `~` is the user's home folder, which a shell does
    not put in after `--outputs=`.
    """
    return Path(os.path.expanduser(text))


def check_output(output: Path | None) -> None:
    """Refuse a file for `--output` that exists: what it holds may have taken hours.

    To be called before the work. Makes the folder of the file.

    Raises:
        AugeanError: when there is something of that name, or the folder cannot be made.
    """
    if output is None:
        return
    if output.exists():
        raise AugeanError(
            f"--output {output}: exists; remove it, or name another file with --output"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(
            f"--output {output}: cannot make its folder ({error.strerror}); name another file"
        ) from error


def add_outputs_option(parser: Parser) -> None:
    parser.add_argument(
        "--outputs",
        type=path_argument,
        default=Path("outputs"),
        help="output directory (default: outputs)",
    )


def check_outputs(outputs: Path) -> None:
    """Refuse an output directory that does not exist.

    Raises:
        AugeanError: when there is no such folder.
    """
    if not outputs.is_dir():
        raise AugeanError(
            f"--outputs {outputs}: no such folder; name the runs' own runtime.outputs"
        )


def add_config_dir_option(parser: Parser) -> None:
    parser.add_argument(
        "-cd", "--config-dir", type=path_argument, help="folder of a sweep file of your own"
    )


def add_sweep_arguments(parser: Parser, *, sweep_help: str, with_grid: bool = True) -> None:
    """Add what names a sweep, as `augean train` takes it; see `read_sweep_arguments`.

    Args:
        with_grid: whether it may be a grid on the command line.
    """
    parser.add_argument("sweep", nargs="?", help=sweep_help)
    action = parser.add_argument(
        "overrides", nargs="*", help="overrides of the sweep, as it was or will be launched"
    )
    action.completer = complete_overrides  # type: ignore[attr-defined]
    if with_grid:
        parser.add_argument(
            "-m",
            "--multirun",
            action="store_true",
            help="a grid on the command line, such as -m optimizer=sgd,adam, not a sweep file",
        )
    parser.add_argument("-cn", "--config-name", metavar="SWEEP", help="the same as SWEEP")
    add_config_dir_option(parser)


def read_sweep_arguments(arguments: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the name of the sweep, None where there is none, and the overrides.

    The name is the first word that is not an override, wherever it stands.
    """
    # argparse puts the first word into `sweep`, whether it is a name or an override.
    words = [arguments.sweep, *arguments.overrides]
    words = [word for word in words if word is not None and word != "--"]
    if arguments.config_name is not None:
        return arguments.config_name, words
    for index, word in enumerate(words):
        if is_name(word):
            return word, [*words[:index], *words[index + 1 :]]
    return None, words


def is_name(word: str) -> bool:
    """Return whether a word is a name: neither an override nor the deletion of a key (`~key`)."""
    return "=" not in word and not word.startswith("~")


def positive_number(text: str) -> int:
    """Read a whole number of at least 1, as the `type` of an option.

    Raises:
        argparse.ArgumentTypeError: for anything else; argparse adds the option's name.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)
