"""Read an archive to its end and check all of it.

An archive may be damaged or come from a stranger, and tarfile alone does not notice. It takes a
damaged header for the end of the archive, so that the files after it are lost without an error. It
also stops before the end of the xz stream, so that the checksum there is never compared.
"""

import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from augean.errors import AugeanError
from augean.regular_files import WEIGHTS_BYTES, open_regular
from augean.store.archive.manifest import MANIFEST, Entry, compare_with_manifest, read_manifest
from augean.store.archive.members import LIMITS, MEMBER, Limits, RefusedError

_CHUNK_BYTES = 2**20
"""Most bytes that are read or decompressed at once."""
_DECODER_BYTES = 256 * 2**20
"""Most memory that xz may take to decompress. Archives of `xz -9` need 65 MiB."""
_EXTENDED_HEADER_BYTES = 1024
"""Most bytes of an extended header, which holds the name of a file when it is long."""
_OVERHEAD_BYTES = 2048
"""Most bytes that a member takes in a tar file beside its content: its header, the header of a long
name, and zeros up to a multiple of 512 bytes."""
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
"""Exceptions that damaged input raises in lzma, tarfile and json. For a damaged header tarfile
documents TarError alone, but its parsing of numbers and texts raises others too."""
_NOTHING_CHANGED = "not unpacked, nothing was changed; fetch the archive or pack it again"


def extract(archive: Path, target: Path, limits: Limits = LIMITS) -> None:
    """Unpack an archive into the empty folder `target` and check all of it.

    Archives without a manifest, from before format 1, are read too: xz's checksum covers them, and
    their runs and records hold their own digests.

    Raises:
        AugeanError: when the archive is damaged or too large, or holds something that `pack` does
            not write. The files that were unpacked before are then of no use.
    """
    compressed = _open(archive)
    try:
        # Two passes: the tar file is parsed only after xz has checked the whole stream.
        with compressed, TemporaryFile(dir=target) as tar_file:
            _decompress(compressed, tar_file, limits)
            _extract_members(tar_file, target, limits)
    except RefusedError as error:
        raise AugeanError(f"{archive}: {error}; {_NOTHING_CHANGED}") from error
    except OSError as error:
        raise AugeanError(
            f"{archive}: cannot be unpacked below {target.parent} ({error.strerror}); nothing was"
            " changed"
        ) from error
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise _unreadable(archive, reason) from error


def is_archive(path: Path) -> bool:
    """Return whether a file begins like an archive that `pack` wrote: with its manifest."""
    try:
        with (
            open_regular(path, WEIGHTS_BYTES) as file,
            tarfile.open(fileobj=file, mode="r|xz") as archive,
        ):
            first_member = archive.next()
    except (OSError, *_DAMAGE):
        return False
    return first_member is not None and first_member.name == MANIFEST


def _open(archive: Path) -> IO[bytes]:
    """Open the archive for reading.

    Raises:
        AugeanError: when it cannot be opened or is not a regular file.
    """
    try:
        # It is decompressed in pieces, up to the limits of an archive.
        return open_regular(archive, WEIGHTS_BYTES)
    except (OSError, ValueError) as error:
        # ValueError: the text cannot be a path, as it holds a NUL.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unreadable(archive, str(reason)) from error


def _unreadable(archive: Path, reason: str) -> AugeanError:
    return AugeanError(
        f"{archive}: no archive of runs that can be read ({reason}); {_NOTHING_CHANGED}"
    )


def _decompress(compressed: IO[bytes], tar_file: IO[bytes], limits: Limits) -> None:
    """Decompress the whole xz stream, so that xz compares its checksums.

    Raises:
        EOFError: when the stream ends early.
        RefusedError: when it holds more than `limits` allow, or when bytes follow it.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER_BYTES)
    # Beside the contents a tar file has headers and padding, the manifest, and its last record, of
    # 10 KiB, which tarfile fills with zeros.
    overhead = limits.manifest_bytes + limits.members * _OVERHEAD_BYTES + tarfile.RECORDSIZE
    max_size = limits.total_bytes + overhead
    size = 0
    while not decompressor.eof:
        # Without new input the decompressor goes on with what it has buffered.
        chunk = b""
        if decompressor.needs_input:
            chunk = compressed.read(_CHUNK_BYTES)
            if not chunk:
                raise EOFError("it ends early")
        # Never more than a chunk at once: a few compressed bytes may stand for gigabytes.
        content = decompressor.decompress(chunk, max_length=_CHUNK_BYTES)
        size += len(content)
        if size > max_size:
            raise RefusedError(f"holds more than {limits}")
        tar_file.write(content)
    if decompressor.unused_data or compressed.read(1):
        raise RefusedError("has further bytes after its end")


def _extract_members(tar_file: IO[bytes], target: Path, limits: Limits) -> None:
    """Write the members of a tar file below `target` and compare them with the manifest.

    Raises:
        RefusedError: names the first member that is too large or that `pack` does not write.
    """
    manifest: dict[str, Entry] | None = None
    entries: dict[str, Entry] = {}
    total = 0
    tar_file.seek(0)
    while (header := _next_header(tar_file)) is not None:
        # The manifest is allowed as the first member only.
        if header.name == MANIFEST and manifest is None and not entries:
            _check_size(header, limits.manifest_bytes)
            content = b"".join(_chunks(tar_file, header.size))
            manifest = read_manifest(content)
            continue
        if not MEMBER.fullmatch(header.name):
            raise _foreign(header)
        _check_size(header, limits.member_bytes)
        # Checked before the content is read: a header can claim any size.
        total += header.size
        if len(entries) == limits.members or total > limits.total_bytes:
            raise RefusedError(f"holds more than {limits}")
        if header.name in entries:
            raise RefusedError(f"holds {header.name} twice")
        entries[header.name] = _extract_member(tar_file, header, target)
    _check_end(tar_file)
    if manifest is not None:
        compare_with_manifest(manifest, entries)


def _next_header(tar_file: IO[bytes]) -> tarfile.TarInfo | None:
    """Return the header of the next regular file; None at the zeros that end a tar file.

    Only what `pack` writes is accepted. tarfile's own reader accepts much more: links, sparse files
    whose map alone fills the memory, headers that lead back to earlier ones.

    Raises:
        RefusedError: for a member of another type.
    """
    header = _read_header(tar_file)
    # A long name stands in an extended header of its own, before the header of the file.
    if header is not None and header.type == tarfile.XHDTYPE:
        name = _read_long_name(tar_file, header)
        header = _read_header(tar_file)
        if header is None:
            raise EOFError("it ends after the header of a long name")
        header.name = name
    if header is not None and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _foreign(header)
    return header


def _read_header(tar_file: IO[bytes]) -> tarfile.TarInfo | None:
    """Return the header in the next block; None where the block is all zeros."""
    block = _read_exactly(tar_file, tarfile.BLOCKSIZE)
    if not any(block):
        return None
    return tarfile.TarInfo.frombuf(block, "utf-8", "strict")


def _read_long_name(tar_file: IO[bytes], header: tarfile.TarInfo) -> str:
    """Return the name in an extended header.

    The content of the header is `<length> path=<name>` and a line end; the length counts all of its
    bytes, those of its own digits too.
    """
    if not 0 <= header.size <= _EXTENDED_HEADER_BYTES:
        raise RefusedError(f"has a header of {header.size:,} bytes")
    content = b"".join(_chunks(tar_file, header.size))
    length, _, record = content.partition(b" ")
    # `pack` needs no other record, such as a time with fractions or a user's name.
    is_name = record.startswith(b"path=") and record.endswith(b"\n")
    if not is_name or int(length) != len(content):
        raise _foreign(header)
    return record.removeprefix(b"path=").removesuffix(b"\n").decode()


def _foreign(header: tarfile.TarInfo) -> RefusedError:
    return RefusedError(f"holds {header.name!r}, which no `augean pack` writes")


def _check_size(header: tarfile.TarInfo, max_size: int) -> None:
    if header.size < 0:  # the format of a tar header can hold negative numbers
        raise RefusedError(f"{header.name} has a size of {header.size} bytes")
    if header.size > max_size:
        raise RefusedError(f"{header.name} has {header.size / 2**20:,.0f} MiB")


def _extract_member(tar_file: IO[bytes], header: tarfile.TarInfo, target: Path) -> Entry:
    """Write a member to its file below `target`.

    Returns:
        Its size and digest, as the manifest must have them.
    """
    digest = hashlib.sha256()
    path = target / header.name
    path.parent.mkdir(parents=True, exist_ok=True)
    # "x" never overwrites a file: two names can be the same on a file system that ignores case.
    with path.open("xb") as file:
        for chunk in _chunks(tar_file, header.size):
            digest.update(chunk)
            file.write(chunk)
    return Entry(size=header.size, sha256=digest.hexdigest())


def _chunks(tar_file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the content of a member, and skip the zeros that fill its last block.

    Raises:
        RefusedError: when other bytes than zeros fill the block.
    """
    num_bytes_left = size
    while num_bytes_left > 0:
        chunk = _read_exactly(tar_file, min(num_bytes_left, _CHUNK_BYTES))
        num_bytes_left -= len(chunk)
        yield chunk
    # Bytes up to the next multiple of the block size, 0 to 511.
    num_padding = -size % tarfile.BLOCKSIZE
    padding = _read_exactly(tar_file, num_padding)
    if any(padding):
        raise RefusedError("has bytes that belong to no file")


def _read_exactly(tar_file: IO[bytes], size: int) -> bytes:
    """Read `size` bytes.

    Raises:
        EOFError: when the file has fewer.
    """
    content = tar_file.read(size)
    if len(content) < size:
        raise EOFError("its tar file ends early")
    return content


def _check_end(tar_file: IO[bytes]) -> None:
    """Check that a tar file ends with a second block of zeros, and that only zeros follow.

    Raises:
        EOFError: when the second block is missing.
        RefusedError: when other bytes follow.
    """
    rest = _read_exactly(tar_file, tarfile.BLOCKSIZE)
    while rest:
        if any(rest):
            raise RefusedError("has bytes that belong to no file")
        rest = tar_file.read(_CHUNK_BYTES)
