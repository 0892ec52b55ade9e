"""Pack the small files of an outputs folder into one archive, and unpack such an archive.

An archive is a tar file compressed by xz, whose first member is a manifest. It holds no weights and
no checkpoints: a run counts as completed by its summary alone. The same runs make the same archive,
byte for byte.
"""

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from augean.errors import AugeanError
from augean.regular_files import read_regular
from augean.store.archive.manifest import MANIFEST, Entry, write_manifest
from augean.store.archive.members import (
    LIMITS,
    MEMBER,
    RUN_FILES,
    Limits,
    check_record,
    check_run,
)
from augean.store.archive.merge import Merged, merge
from augean.store.archive.reader import extract, is_archive
from augean.store.files import list_folder, write_atomic
from augean.store.locks import hold_lock
from augean.store.record_identity import record_paths
from augean.store.run_directory import runs_dir
from augean.store.run_files import SUMMARY

STAGING = ".unpack-"
"""Prefix of the temporary folder that an archive is unpacked into before it is merged."""


def pack(outputs: Path, archive: Path, limits: Limits = LIMITS) -> list[str]:
    """Write the small files of all runs, sweep records and studies below `outputs` to an archive.

    Args:
        archive: a .tar.xz; an older archive of that name is replaced.

    Returns:
        A message for each run, record and study that is damaged or too large and was left out.

    Raises:
        AugeanError: when there is nothing to pack, or too much for one archive, or the archive
            cannot be written, or its name is that of another file.
    """
    if os.path.lexists(archive) and not is_archive(archive):
        raise AugeanError(
            f"{archive}: exists and is not an archive of augean pack; remove it, or name another"
            " file with --to"
        )
    # 1. Read all files into memory, checked.
    members: dict[str, bytes] = {}
    remarks: list[str] = []
    num_bytes = 0
    for path in _packable_paths(outputs):
        try:
            contents = _read_packable(outputs, path, limits)
        except AugeanError as error:
            remarks.append(f"{error}; left out")
            continue
        # A run is packed whole or not at all: `unpack` would refuse one that lacks a file.
        members |= contents
        num_bytes += sum(len(content) for content in contents.values())
        if num_bytes > limits.total_bytes or len(members) > limits.members:
            raise _too_much(outputs, limits)
    if not members:
        reasons = "".join(f"\n  {remark}" for remark in remarks)
        raise AugeanError(
            f"{outputs}: no runs to pack; name the folder that runtime.outputs named{reasons}"
        )
    # 2. List them in the manifest. `unpack` reads it into memory before it has checked anything
    # else, so it has a limit of its own.
    manifest = _make_manifest(members)
    if len(manifest) > limits.manifest_bytes:
        raise _too_much(outputs, limits)
    # 3. Compress and write both.
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"{archive}: cannot make its folder ({error.strerror})") from error
    write_atomic(archive, _compress(manifest, members))
    return remarks


def _too_much(outputs: Path, limits: Limits) -> AugeanError:
    """Return the error for more files than one archive may hold."""
    return AugeanError(
        f"{outputs}: more than {limits}, too much for one archive; move some runs to another folder"
        " and pack both"
    )


def _packable_paths(outputs: Path) -> list[Path]:
    """Return the run directories, sweep records and journals below `outputs`."""
    # Hidden directories are those of calls of `unpack`, hidden files those of other programs.
    runs = list_folder(runs_dir(outputs), "[!.]*-*")
    records = record_paths(outputs)
    journals = list_folder(outputs / "studies", "[!.]*.journal")
    return [*runs, *records, *journals]


def _read_packable(outputs: Path, path: Path, limits: Limits) -> dict[str, bytes]:
    """Return the small files of a run, a sweep record or a journal, by their names in an archive.

    Args:
        path: a run's directory, or the file of a record or journal.

    Raises:
        AugeanError: when a file is damaged or too large, or cannot be read.
    """
    contents: dict[str, bytes] = {}
    try:
        for file in _checked_files(path):
            name = file.relative_to(outputs).as_posix()
            if not MEMBER.fullmatch(name):
                raise AugeanError(f"{file}: is not among the files that Augean writes")
            contents[name] = read_regular(file, limits.member_bytes)
    except OSError as error:
        raise AugeanError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    return contents


def _checked_files(path: Path) -> list[Path]:
    """Check a run, a sweep record or a journal, and return its small files.

    Raises:
        AugeanError: when the run or the record is damaged.
    """
    if path.parent.name == "runs":
        return _checked_run_files(path)
    # A journal is opaque here; Optuna alone reads it.
    if not path.is_file():  # such as a folder with the name of a record
        return []
    if path.suffix == ".json":
        check_record(path)
    return [path]


def _checked_run_files(path: Path) -> list[Path]:
    """Check a run and return its small files, the summary last."""
    try:
        is_completed = check_run(path)
    except AugeanError as error:
        raise AugeanError(f"{error}; move the run's folder away to train it again") from error
    names = list(RUN_FILES)
    if not is_completed:
        # The run may have been completed since it was checked. Its summary was not checked, so it
        # is not packed.
        names.remove(SUMMARY)
    return [path / name for name in names if (path / name).is_file()]


def _make_manifest(members: dict[str, bytes]) -> bytes:
    """Return the content of the manifest of these members."""
    entries = {}
    for name, content in members.items():
        digest = hashlib.sha256(content).hexdigest()
        entries[name] = Entry(size=len(content), sha256=digest)
    return write_manifest(entries)


def _compress(manifest: bytes, members: dict[str, bytes]) -> bytes:
    """Return a .tar.xz of the manifest and the members, sorted by name.

    The same members make the same bytes.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, MANIFEST, manifest)
        for name in sorted(members):
            _add(tar, name, members[name])
    return archive.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # A new header has the same time (0), owner and mode on every machine.
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))


def unpack(archive: Path, outputs: Path, limits: Limits = LIMITS) -> Merged:
    """Merge an archive into `outputs`.

    A completed run in `outputs` stays as it is; an unfinished one is replaced by a completed one.
    Two grids of the same name become one with the jobs of both. Of two states of the same study the
    later one stays. Several calls into one folder take turns.

    Returns:
        What was merged, and what was left as it is.

    Raises:
        AugeanError: before anything is merged, when the archive is damaged or too large, holds a
            damaged run or a file that `pack` does not write, or when a record in `outputs` is
            damaged; while merging, when the folder cannot be written.
    """
    runs = runs_dir(outputs)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        # One call at a time. Merging a run locks it, and a locked run counts as in training: a
        # second call would leave the run alone, even if its own copy were the completed one.
        with hold_lock(outputs, "merge", wait=True):
            # No other call is running, so these are the folders of calls that were killed.
            for leftover in runs.glob(f"{STAGING}*"):
                shutil.rmtree(leftover)
            # Below `runs`, so on the same file system: a rename moves a run to its place.
            with TemporaryDirectory(prefix=STAGING, dir=runs) as temporary:
                staged = Path(temporary)
                extract(archive, staged, limits)
                completed = _check_staged(archive, staged)
                return merge(staged, outputs, completed)
    except OSError as error:
        raise AugeanError(f"{outputs}: cannot unpack there ({error.strerror})") from error


def _check_staged(archive: Path, staged: Path) -> dict[str, bool]:
    """Check the unpacked runs and records.

    Returns:
        For each run, by the name of its directory, whether it is completed.

    Raises:
        AugeanError: when a run or a record is damaged.
    """
    completed = {}
    try:
        for run in sorted(staged.glob("runs/*")):
            completed[run.name] = check_run(run)
        for record in record_paths(staged):
            check_record(record)
    except AugeanError as error:
        # When the message is read the temporary folder is gone, so the file is named by its place
        # in the archive.
        reason = str(error).replace(f"{staged}/", "")
        raise AugeanError(
            f"{archive}: {reason}; not unpacked, nothing was changed; pack the runs again"
        ) from error
    return completed
