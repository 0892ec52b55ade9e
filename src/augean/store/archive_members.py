"""What an archive of runs may hold: names, sizes, and how a run or a record is checked."""

import re
from dataclasses import dataclass
from pathlib import Path

from augean.errors import AugeanError
from augean.store.files import file_sha256
from augean.store.summary import DIGESTED_FILES, SUMMARY, read_summary
from augean.store.sweep_record import read_record

LARGE_FILES = ("best.pt", "state.pt")
"""Files of weights, which stay behind: a run is completed without them."""
RUN_FILES = (
    *(name for name in DIGESTED_FILES if name not in LARGE_FILES),
    "train.log",
    "failure.txt",
    SUMMARY,
)
"""What is packed of a run. The summary is the last: it proves the others."""

_RUN_FILE = "|".join(re.escape(name) for name in RUN_FILES)
MEMBER = re.compile(
    rf"(?a:runs/\w[\w.+=,-]*-[0-9a-f]{{10}}/({_RUN_FILE})"
    r"|sweeps/\w[\w.+-]*\.json"
    r"|studies/\w[\w.+-]*\.journal)"
)
"""Names that an archive may hold. None of them leaves the folder that it is unpacked into."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an archive may be; `pack` and `unpack` keep to the same limits.

    An archive of a few kilobytes can claim any size. Within these limits it can fill neither a disk
    nor the memory.
    """

    member_bytes: int = 256 * 2**20
    """Size of one file: far above the largest kind, a study's journal."""
    members: int = 200_000
    """Number of files, enough for 15,000 runs; most file systems have more inodes than that."""
    total_bytes: int = 2 * 2**30
    """Size of all files, enough for 100,000 runs, or for 5,000 with the loss of every step. `pack`
    has them in memory."""
    manifest_bytes: int = 64 * 2**20
    """Size of the manifest, which is parsed in memory: 300 bytes for each of `members`."""

    def __str__(self) -> str:
        return f"{self.members:,} files or {self.total_bytes / 2**20:,.0f} MiB"


LIMITS = Limits()


class RefusedError(Exception):
    """Why an archive is not unpacked; `extract` adds which archive, and what to do."""


def check_run(path: Path) -> bool:
    """Return whether the run at `path` is completed. Only `LARGE_FILES` may be absent.

    Raises:
        AugeanError: when the summary was altered or is another run's, or when a file whose digest
            it holds was altered or is missing.
    """
    summary = read_summary(path)
    if summary is None:
        return False
    if summary.id != path.name[-10:]:
        raise AugeanError(f"{path}: holds the summary of another run, {summary.id}")
    for name in DIGESTED_FILES:
        # A file that came without a digest was put there later: it is as wrong as a missing one.
        file = path / name
        if not file.is_file():
            is_intact = name in LARGE_FILES or name not in summary.files
        else:
            is_intact = file_sha256(file) == summary.files.get(name)
        if not is_intact:
            raise AugeanError(f"{file}: altered or missing since the run was completed")
    return True


def check_record(path: Path) -> None:
    """Check a sweep record, whose name becomes a file name when it is written again.

    Raises:
        AugeanError: when the file is not a sound record, or has another name than its record.
    """
    name = read_record(path).name
    if name != path.stem:
        raise AugeanError(
            f"{path}: the record of another sweep, {name}; give the file that name, or remove it"
        )
