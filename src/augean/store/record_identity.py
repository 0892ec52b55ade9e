"""Say which sweep a launch is: the name of its record, and the overrides that make it another."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from augean.errors import AugeanError
from augean.store.files import list_folder

# An override begins with +, ++ or ~ where it adds or deletes a key. `runtime` and `launcher` say
# where runs are executed. Below `hydra` only `sweeper.params`, `.rows` and `.ablate` identify it.
NOT_IDENTIFYING = re.compile(
    r"[+~]*(runtime[.=]|launcher=|hydra/|hydra\.(?!sweeper\.(params|rows|ablate)))"
)
"""Overrides that change neither a run nor the set of rows: with them a sweep stays the same."""
EXECUTION_KEY = re.compile(r"[+~]*(runtime|hydra|launcher)\b")
"""Overrides that say where and how runs are executed. They are left out of the winner's setting."""


def record_name(sweep: str, suffix: str = "") -> str:
    """Return the name of a sweep's record, a file name: other letters become "_"."""
    return plain_name(sweep) + re.sub(r"[^A-Za-z0-9_.+-]", "_", suffix)


def record_path(outputs: Path, name: str) -> Path:
    """Return the file of the record with this name."""
    return outputs / "sweeps" / f"{name}.json"


def record_paths(outputs: Path) -> list[Path]:
    """Return the files of all records below `outputs`, sorted."""
    # A hidden file is some other program's: macOS writes ._<name> beside <name> on shared disks.
    return list_folder(outputs / "sweeps", "[!.]*.json")


def check_file_name(path: Path, name: str) -> None:
    """Make sure that a record lies in the file of its name: a copy would be a sweep of its own.

    Raises:
        AugeanError: when it does not.
    """
    if name != path.stem:
        raise AugeanError(
            f"{path}: the record of another sweep, {name}; give the file that name, or remove it"
        )


def plain_name(text: str) -> str:
    """Return a text of any letters as the name of a file, of at most 128 characters.

    Texts in other alphabets, and long ones, end in a digest: without it they would share a name.
    """
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", text[:120])
    if text.isascii() and len(text) <= 120:
        return name
    return f"{name}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:7]}"


def identifying_overrides(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that change a run or the set of rows, and so the record's name.

    They are sorted by their keys. Those of one key stay in their order, in which they are applied.

    Args:
        overrides: those of the command line that are not in the sweep's file.
    """
    items = [item for item in overrides if not NOT_IDENTIFYING.match(item)]
    # The sign `=` belongs to the sort key: without it the order of some keys would change, and with
    # it the names of existing records.
    return sorted(items, key=lambda item: f"{item.lstrip('+').partition('=')[0]}=")


def same_overrides(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether two lists ask for the same sweep: `++seed=0,1` is `seed=0,1`."""
    return [item.lstrip("+") for item in first] == [item.lstrip("+") for item in second]
