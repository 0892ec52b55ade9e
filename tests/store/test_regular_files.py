"""Reading files that may be anything: what is read, and what is refused at once."""

import os
import socket
from pathlib import Path

import pytest

from augean.regular_files import open_regular, parse_json, read_regular

LIMIT = 1000


def test_a_file_up_to_the_limit_is_read_whole(tmp_path: Path) -> None:
    for content in (b"", b"a", bytes(range(250)) * 4):
        (tmp_path / "file").write_bytes(content)
        assert read_regular(tmp_path / "file", LIMIT) == content
        with open_regular(tmp_path / "file", LIMIT) as file:
            assert file.read() == content


def test_a_file_without_a_size_is_read_up_to_the_limit() -> None:
    """The kernel's files in /proc say that they have no bytes."""
    assert read_regular(Path("/proc/self/status"), 10**6).startswith(b"Name:")
    with pytest.raises(OSError, match="too large"):
        read_regular(Path("/proc/self/status"), 10)


@pytest.mark.parametrize(
    "kind", ["pipe", "device", "link to a device", "folder", "socket", "too large", "no file"]
)
def test_anything_else_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "too large":
        path.write_bytes(b" " * (LIMIT + 1))
    before = set(os.listdir("/proc/self/fd"))
    for read in (read_regular, open_regular):
        with pytest.raises(OSError, match=r"\w") as caught:
            read(path, LIMIT)
        assert caught.value.strerror
        assert caught.value.filename == str(path)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' * 100_000, "nested too deep"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
        (b"9" * 10_000, "digits"),
    ],
)
def test_what_is_not_plain_json_is_a_value_error(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(content)
