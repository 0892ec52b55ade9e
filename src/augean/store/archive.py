"""Pack the small files of an outputs folder into one archive, and read such an archive.

An archive is a tar file compressed by xz. Its first member, `manifest.json`, holds the size and
the sha256 of every other member. Weights and checkpoints stay behind: a run counts as completed
by its summary. The same runs make the same archive, byte for byte.

An archive may be damaged or come from a stranger. `extract` reads it to its end and checks all of
it; `augean.store.merge` puts what it held into an outputs folder.
"""

import hashlib
import io
import json
import lzma
import re
import tarfile
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from augean.errors import AugeanError
from augean.store.files import file_sha256, write_atomic
from augean.store.run_directory import runs_dir
from augean.store.summary import DIGESTED_FILES, read_summary
from augean.store.sweep_record import read_record

WEIGHTS = "best.pt"
SUMMARY = "summary.json"
RUN_FILES = (
    *(name for name in DIGESTED_FILES if name != WEIGHTS),
    "train.log",
    "failure.txt",
    SUMMARY,
)
"""What is packed of a run. The summary is the last: it proves the others."""

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1

_RUN_FILE = "|".join(re.escape(name) for name in RUN_FILES)
MEMBER = re.compile(
    rf"(?a:runs/\w[\w.+=,-]*-[0-9a-f]{{10}}/({_RUN_FILE})"
    r"|sweeps/\w[\w.+-]*\.json"
    r"|studies/\w[\w.+-]*\.journal)"
)
"""Names that an archive may hold. None of them leaves the folder that it is unpacked into."""

# An archive of a few kilobytes can claim any size. With these bounds it can neither fill a disk nor
# the memory, and `pack` keeps to them too.
MAX_MEMBER_BYTES = 256 * 2**20
"""Size of one file: far above the largest kind, a study's journal."""
MAX_MEMBERS = 200_000
"""Number of files: 15,000 runs, or fewer inodes than most file systems have."""
MAX_TOTAL_BYTES = 2 * 2**30
"""Size of all files: 100,000 runs, or 5,000 that hold the loss of every step. `pack` has them in
memory."""
MAX_MANIFEST_BYTES = 64 * 2**20
"""Size of the manifest, which is parsed in memory: 300 bytes for each of `MAX_MEMBERS`."""
MAX_DECODER_BYTES = 256 * 2**20
"""Memory that xz may take to decompress: `xz -9` needs 65 MiB."""
_HEADER_BYTES = 2048
"""A tar file has at most this beside the content of a member: its header, the header of a long
name, and padding to 512 bytes."""
_TAR_END_BYTES = 1024
"""A tar file ends with at least this many zeros."""
_CHUNK_BYTES = 2**20

_DAMAGE = (
    tarfile.TarError,
    lzma.LZMAError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What damaged input raises in lzma, tarfile and json. tarfile documents only the first, but it
parses numbers and texts of its headers without guarding all of them."""


class _RefusedError(Exception):
    """Why an archive is not unpacked."""


def check_run(path: Path) -> bool:
    """Return whether the run at `path` is completed. Only its weights may be absent, as in an
    archive.

    Raises:
        AugeanError: when the summary was altered or is another run's, or when a file whose digest
            it holds was altered or is missing.
    """
    summary = read_summary(path)
    if summary is None:
        return False
    if summary["id"] != path.name[-10:]:
        raise AugeanError(f"{path}: holds the summary of another run, {summary['id']}")
    for name in DIGESTED_FILES:
        file = path / name
        if not file.is_file():
            intact = name == WEIGHTS or name not in summary["files"]
        else:
            intact = file_sha256(file) == summary["files"].get(name)
        if not intact:
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


def pack(outputs: Path, archive: Path) -> list[str]:
    """Write the small files of all runs, sweep records and studies below `outputs` to `archive`, a
    .tar.xz.

    Returns:
        A message for each run and record that is damaged and was left out.

    Raises:
        AugeanError: when there is nothing to pack, or too much for one archive, or the archive
            cannot be written.
    """
    members: dict[str, bytes] = {}
    left_out: list[str] = []
    total = 0
    for path in _packable(outputs):
        try:
            contents = _read_packable(outputs, path)
        except AugeanError as error:
            left_out.append(f"{error}; left out")
            continue
        members |= contents
        total += sum(len(content) for content in contents.values())
        if total > MAX_TOTAL_BYTES or len(members) > MAX_MEMBERS:
            raise AugeanError(
                f"{outputs}: more than {MAX_TOTAL_BYTES / 2**20:,.0f} MiB or {MAX_MEMBERS:,} small"
                " files, too much for one archive; move some runs to another folder and pack both"
            )
    if not members:
        raise AugeanError(f"{outputs}: no runs to pack; name the folder that runtime.outputs named")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"{archive}: cannot make its folder ({error.strerror})") from error
    write_atomic(archive, _compress(members))
    return left_out


def _packable(outputs: Path) -> list[Path]:
    """Return the run directories, sweep records and journals below `outputs`."""
    runs = sorted(runs_dir(outputs).glob("[!.]*-*"))
    records = sorted(outputs.glob("sweeps/*.json"))
    journals = sorted(outputs.glob("studies/*.journal"))
    return [*runs, *records, *journals]


def _read_packable(outputs: Path, path: Path) -> dict[str, bytes]:
    """Return the small files of a run, a sweep record or a journal by their names in an archive.

    Raises:
        AugeanError: when one of them is damaged, too large, or cannot be read, so that all of them
            are left out.
    """
    contents: dict[str, bytes] = {}
    try:
        for file in _sound_files(path):
            name = file.relative_to(outputs).as_posix()
            if not MEMBER.fullmatch(name):
                raise AugeanError(f"{file}: no file of ours by its name")
            size = file.stat().st_size
            if size > MAX_MEMBER_BYTES:
                raise AugeanError(f"{file}: {size / 2**20:,.0f} MiB, more than unpack takes")
            contents[name] = file.read_bytes()
    except OSError as error:
        raise AugeanError(f"{path}: cannot be read ({error})") from error
    return contents


def _sound_files(path: Path) -> list[Path]:
    """Check a run, a sweep record or a journal, and return its small files."""
    if path.parent.name == "runs":
        return _sound_run_files(path)
    if not path.is_file():
        return []
    if path.suffix == ".json":
        check_record(path)
    return [path]


def _sound_run_files(path: Path) -> list[Path]:
    try:
        is_completed = check_run(path)
    except AugeanError as error:
        raise AugeanError(f"{error}; remove the run's folder to train it again") from error
    names = list(RUN_FILES)
    if not is_completed:
        # The run may become completed at this moment. Its summary was not checked, so it is not
        # packed either.
        names.remove(SUMMARY)
    return [path / name for name in names if (path / name).is_file()]


def _compress(members: dict[str, bytes]) -> bytes:
    """Return the archive of the members: the same bytes for the same members."""
    entries = {}
    for name, content in members.items():
        entries[name] = _entry(len(content), hashlib.sha256(content).hexdigest())
    manifest = {"format": MANIFEST_FORMAT, "members": entries}
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, MANIFEST, text.encode())
        for name in sorted(members):
            _add(tar, name, members[name])
    return archive.getvalue()


def _entry(size: int, sha256: str) -> dict[str, Any]:
    """Return what the manifest says of a member."""
    return {"size": size, "sha256": sha256}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)  # its time, owner and mode are the same everywhere
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))


def extract(archive: Path, target: Path) -> None:
    """Unpack an archive into the empty folder `target` and check all of it.

    Archives without a manifest, as they were made before format 1, are read too: xz's own checksum
    covers them, and their runs and records hold digests of their own.

    Raises:
        AugeanError: when the archive is damaged or too large, or holds what `pack` does not write.
            What was unpacked until then is of no use.
    """
    outcome = "not unpacked, nothing was changed; fetch the archive or pack it again"
    try:
        compressed = archive.open("rb")
    except OSError as error:
        raise AugeanError(
            f"{archive}: no archive of runs that can be read ({error.strerror})"
        ) from error
    try:
        with compressed, TemporaryFile(dir=target) as tar_file:
            _decompress(compressed, tar_file)
            _extract_members(tar_file, target)
    except _RefusedError as error:
        raise AugeanError(f"{archive}: {error}; {outcome}") from error
    except OSError as error:
        raise AugeanError(
            f"{archive}: cannot be unpacked below {target.parent} ({error.strerror}); nothing was"
            " changed"
        ) from error
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise AugeanError(
            f"{archive}: no archive of runs that can be read ({reason}); {outcome}"
        ) from error


def _decompress(compressed: IO[bytes], tar_file: IO[bytes]) -> None:
    """Decompress the whole xz stream, so that xz checks all of it.

    tarfile by itself does not read so far: it takes a damaged header for the end of the archive,
    and the files after it are lost without a word.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)
    most = MAX_TOTAL_BYTES + MAX_MANIFEST_BYTES + MAX_MEMBERS * _HEADER_BYTES
    size = 0
    while not decompressor.eof:
        chunk = b""
        if decompressor.needs_input:
            chunk = compressed.read(_CHUNK_BYTES)
            if not chunk:
                raise EOFError("it ends early")
        # Never more than a chunk at once: a few bytes may stand for gigabytes.
        content = decompressor.decompress(chunk, max_length=_CHUNK_BYTES)
        size += len(content)
        if size > most:
            raise _RefusedError(f"has more than {most / 2**20:,.0f} MiB")
        tar_file.write(content)
    if decompressor.unused_data or compressed.read(1):
        raise _RefusedError("has further bytes after its end")


def _extract_members(tar_file: IO[bytes], target: Path) -> None:
    manifest: dict[str, Any] | None = None
    entries: dict[str, Any] = {}
    total = 0
    end = 0
    tar_file.seek(0)
    with tarfile.open(fileobj=tar_file, mode="r:") as tar:
        for index, member in enumerate(tar):
            end = member.offset_data + member.size
            if index == 0 and member.name == MANIFEST:
                manifest = _read_manifest(tar, member)
                continue
            _check_header(member)
            total += member.size
            if len(entries) == MAX_MEMBERS or total > MAX_TOTAL_BYTES:
                raise _RefusedError(
                    f"holds more than {MAX_MEMBERS:,} files or {MAX_TOTAL_BYTES / 2**20:,.0f} MiB"
                )
            if member.name in entries:
                raise _RefusedError(f"holds {member.name} twice")
            entries[member.name] = _extract_member(tar, member, target)
    _check_end(tar_file, end)
    if manifest is not None:
        _compare(manifest, entries)


def _check_header(member: tarfile.TarInfo) -> None:
    # A sparse file may be far larger than what is read of it.
    plain = member.isreg() and not member.issparse()
    if not plain or not MEMBER.fullmatch(member.name):
        raise _RefusedError(f"holds {member.name!r}, which no `augean pack` writes")
    _check_size(member, MAX_MEMBER_BYTES)


def _check_size(member: tarfile.TarInfo, most: int) -> None:
    # A negative size would send tarfile back to headers that it has read.
    if not 0 <= member.size <= most:
        raise _RefusedError(f"{member.name} has {member.size / 2**20:,.0f} MiB")


def _read_manifest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """Return the entries of the manifest by name."""
    _check_size(member, MAX_MANIFEST_BYTES)
    source = tar.extractfile(member)
    manifest = json.loads(source.read()) if source is not None else None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("members"), dict):
        raise _RefusedError("has a damaged manifest")
    if manifest.get("format") != MANIFEST_FORMAT:
        raise _RefusedError(
            f"is of format {manifest.get('format')!r}, this Augean reads {MANIFEST_FORMAT}; update"
            " Augean, or pack the runs again with this one"
        )
    return dict(manifest["members"])


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> dict[str, Any]:
    """Write a file below `target` and return what its entry in the manifest must be."""
    source = tar.extractfile(member)
    if source is None:
        raise _RefusedError(f"{member.name} is not a file")
    digest = hashlib.sha256()
    path = target / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return _entry(member.size, digest.hexdigest())


def _check_end(tar_file: IO[bytes], end: int) -> None:
    """Check that only zeros follow the last member, which ends at byte `end`.

    tarfile stops at the first block that is not a header, without a word.
    """
    tar_file.seek(end)
    num_zeros = 0
    while chunk := tar_file.read(_CHUNK_BYTES):
        if any(chunk):
            raise _RefusedError("has bytes that belong to no file")
        num_zeros += len(chunk)
    if num_zeros < _TAR_END_BYTES:
        raise _RefusedError("ends within its tar file")


def _compare(manifest: dict[str, Any], entries: dict[str, Any]) -> None:
    for name in sorted(manifest.keys() | entries.keys()):
        if name not in entries:
            raise _RefusedError(f"{name!r} is missing from it")
        if name not in manifest:
            raise _RefusedError(f"{name} is not in its manifest")
        if manifest[name] != entries[name]:
            raise _RefusedError(f"{name} was altered since it was packed")
