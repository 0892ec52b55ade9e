"""The option `--json`: standard output holds one document and nothing else."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from augean.cli.parser import Parser


def add_json_option(parser: Parser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document (docs/reference/json.md) and nothing else to standard output",
    )


@contextmanager
def messages_on_stderr(is_wanted: bool) -> Iterator[None]:
    """Send what is written to standard output to standard error, child processes included.

    The document is printed after the block, so that a pipe gets it alone.
    """
    if not is_wanted:
        yield
        return
    # Descriptor 1 is redirected as well, since child processes know nothing of `sys.stdout`.
    stream = sys.stdout
    stream.flush()
    original = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = stream
        os.dup2(original, 1)
        os.close(original)
