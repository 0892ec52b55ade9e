"""Archives of runs: their members, and archives that no `augean pack` would write."""

import io
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from augean.store.archive.manifest import MANIFEST


def write_archive(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    """Write files as an archive of before the manifest; pairs may hold one name twice."""
    pairs = files.items() if isinstance(files, Mapping) else files
    with tarfile.open(path, "w:xz") as tar:
        for name, content in pairs:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def write_tar(path: Path, content: bytes) -> Path:
    """Write the bytes of a tar file as an archive whose xz stream is sound."""
    path.write_bytes(lzma.compress(content))
    return path


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the members by name, without the manifest: as an archive without one has them."""
    files = read_members(path)
    files.pop(MANIFEST, None)
    return files


def read_members(path: Path) -> dict[str, bytes]:
    """Return the members by name, in their order."""
    files = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            files[member.name] = file.read()
    return files


def flip_bit(content: bytes, position: int) -> bytes:
    """Return the content with one bit changed; `position` counts bits."""
    flipped = bytearray(content)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)
