"""Keep a study in a journal file of Optuna's format, in which a torn or altered line is noticed.

Every line carries a checksum of its own, under a key that Optuna ignores, so that its dashboard
opens the file too.
"""

import json
import logging
import os
import shlex
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend

from augean.errors import StorageError
from augean.regular_files import JOURNAL_BYTES, open_regular

logger = logging.getLogger(__name__)

CHECKSUM = "augean:crc32"
"""Key of a line's checksum."""


class Journal(JournalFileBackend):
    """Optuna's journal file under a lock that dies with its holder.

    A last line without a line break is left by a write that failed on a full disk. No caller has
    relied on that line, so the next write removes it. Any other damage is refused, because later
    lines build on earlier ones.

    Raises:
        StorageError: on creation and on reading, for a damaged line; on writing, when the disk is
            full.
    """

    def __init__(self, path: str) -> None:
        """Open or create the file."""
        self.path = Path(path)
        # Optuna's own lock is a marker file, which a killed holder leaves behind. This one has
        # another suffix, because optuna-dashboard removes whatever is called .lock.
        self.lock = FileLock(f"{path}.flock", fallback_to_soft=False)
        try:
            # Optuna opens the file as it is, and would wait for ever for a named pipe.
            if self.path.exists():
                open_regular(self.path, JOURNAL_BYTES).close()
            super().__init__(path, lock_obj=self.lock)  # type: ignore[arg-type]
            self._check()
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened ({error.strerror})") from error

    def _check(self) -> None:
        """Check every line once, as Optuna ignores what it cannot parse at the end of a file."""
        with open_regular(self.path, JOURNAL_BYTES) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):  # else it is a torn last line
                    try:
                        self._checked(json.loads(line))
                    except (ValueError, RecursionError):
                        raise self._damaged(number) from None

    def _damaged(self, number: int) -> StorageError:
        journal = shlex.quote(str(self.path))
        good = shlex.quote(f"{self.path}.good")
        return StorageError(
            f"{self.path}: line {number} is damaged. To go on with the trials before it: head -n"
            f" {number - 1} {journal} > {good} && mv {good} {journal}"
        )

    @staticmethod
    def _checked(entry: Any) -> dict[str, Any]:
        """Return the entry without its checksum.

        Raises:
            ValueError: for an altered line.
        """
        # Lines by others, such as notes from the dashboard, have no checksum: they begin with
        # Optuna's own key.
        if not isinstance(entry, dict) or next(iter(entry), None) not in (CHECKSUM, "op_code"):
            raise ValueError
        content = {key: value for key, value in entry.items() if key != CHECKSUM}
        if CHECKSUM in entry and entry[CHECKSUM] != _checksum(content):
            raise ValueError
        return content

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the entries from that number on, each checked."""
        number = log_number_from  # lines before the one that is read
        try:
            for entry in super().read_logs(log_number_from):
                content = self._checked(entry)
                number += 1
                yield content
        except (ValueError, RecursionError):
            raise self._damaged(number + 1) from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries, all of them or none."""
        try:
            with self.lock:
                self._cut_torn_line()
                length = self.path.stat().st_size
                try:
                    # Optuna takes the lock once more; a FileLock of the same object allows that.
                    super().append_logs([{CHECKSUM: _checksum(entry), **entry} for entry in logs])
                except OSError:
                    os.truncate(self.path, length)
                    raise
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {error.strerror}; what it holds is not lost"
            ) from error

    def _cut_torn_line(self) -> None:
        """Remove a last line without a line break."""
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if file.read() not in (b"", b"\n"):
                logger.warning(f"{self.path}: removed its last line, torn by a write that failed")
                file.truncate(self.path.read_bytes().rfind(b"\n") + 1)


def _checksum(entry: dict[str, Any]) -> int:
    # Keys are sorted, so that the order in which a library writes them does not matter.
    return zlib.crc32(json.dumps(entry, sort_keys=True).encode())
