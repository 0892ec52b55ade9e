"""The names and sizes that an archive of runs may hold, and checks of its runs and records."""

import re
from dataclasses import dataclass
from pathlib import Path

from augean.errors import AugeanError
from augean.regular_files import digest_regular
from augean.store.record_identity import check_file_name
from augean.store.run_files import (
    DIGESTED_FILES,
    FAILURE,
    RUN_ID,
    STATE,
    SUMMARY,
    WEIGHTS,
    id_in_name,
)
from augean.store.summary import read_summary
from augean.store.sweep_record import read_record

LARGE_FILES = (WEIGHTS, STATE)
"""Files of weights, which are not packed: a run counts as completed without them."""
RUN_FILES = (
    *(name for name in DIGESTED_FILES if name not in LARGE_FILES),
    "train.log",
    FAILURE,
    SUMMARY,
)
"""Files of a run that are packed. The summary is last, as it completes the run: of files that are
moved in this order, a summary is never without the others."""

# Alternatives of a regular expression, each for one name exactly: the dots are escaped.
_RUN_FILE = "|".join(re.escape(name) for name in RUN_FILES)
# Every part of a name begins with a letter, digit or underscore, so that none is hidden or "..".
# `(?a:` makes `\w` mean ASCII only.
MEMBER = re.compile(
    rf"(?a:runs/\w[\w.+=,-]*-{RUN_ID}/({_RUN_FILE})"
    r"|sweeps/\w[\w.+-]*\.json"
    r"|studies/\w[\w.+-]*\.journal)"
)
"""Names that an archive may hold, for `fullmatch`. All of them lie below the folder that it is
unpacked into."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an archive may be; `pack` and `unpack` keep to the same limits.

    An archive of a few kilobytes can claim any size. Within these limits it can fill neither a disk
    nor the memory.
    """

    member_bytes: int = 256 * 2**20
    """Size of one file, far above that of the largest ones, the journals of studies."""
    members: int = 200_000
    """Number of files, enough for 20,000 runs with all that a run can have. Most file systems have
    more inodes than that."""
    total_bytes: int = 2 * 2**30
    """Size of all files: 10 KiB for each of `members`, or 5,000 runs with the loss of every step.
    `pack` holds all of them in memory."""
    manifest_bytes: int = 64 * 2**20
    """Size of the manifest, which is parsed in memory: about 300 bytes for each of `members`."""

    def __str__(self) -> str:
        return f"{self.members:,} files or {self.total_bytes / 2**20:,.0f} MiB"


LIMITS = Limits()


class RefusedError(Exception):
    """The reason why an archive is not unpacked; `extract` adds its path and the fix."""


def check_run(path: Path) -> bool:
    """Check the files of the run at `path`, and return whether the run is completed.

    A run without a summary is not completed, and nothing of it is checked.

    Raises:
        AugeanError: when the summary was altered or belongs to another run, or when a file was
            altered, is missing or has no digest in the summary. `LARGE_FILES` may be missing.
    """
    summary = read_summary(path)
    if summary is None:
        return False
    if summary.id != id_in_name(path.name):
        raise AugeanError(f"{path}: holds the summary of another run, {summary.id}")
    for name in DIGESTED_FILES:
        file = path / name
        if file.is_file():
            # A file without a digest is refused too: it was put there after the run.
            is_intact = digest_regular(file) == summary.files.get(name)
        else:
            is_intact = name in LARGE_FILES or name not in summary.files
        if not is_intact:
            raise AugeanError(f"{file}: altered or missing since the run was completed")
    return True


def check_record(path: Path) -> None:
    """Check a sweep record and that its file has the record's name.

    The name inside decides which file is replaced when the record is written again.

    Raises:
        AugeanError: when the record is damaged, or its file has another name.
    """
    check_file_name(path, read_record(path).name)
