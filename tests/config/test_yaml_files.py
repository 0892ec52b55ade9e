"""YAML from strangers: aliases are read, those that stand for billions of values are not."""

import os
import time
from pathlib import Path

import pytest

from augean.config.command_line import check_command_line
from augean.config.yaml_files import parse_yaml
from augean.errors import AugeanError


def nested(first: str, line: str, depth: int = 40) -> bytes:
    """Return YAML in which every line repeats the one before it twice."""
    lines = [first]
    for number in range(1, depth):
        lines.append(line.format(number=number, before=number - 1))
    return "\n".join(lines).encode()


def test_aliases_repeat_what_they_name() -> None:
    assert parse_yaml(b"a: &x {b: [1, 2]}\nc: *x") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}
    assert parse_yaml(b"a: &x {b: 1}\nc: {<<: *x, d: 2}")["c"] == {"b": 1, "d": 2}
    assert parse_yaml(b"") is None


@pytest.mark.parametrize(
    "content",
    [
        nested("a0: &a0 [x, x]", "a{number}: &a{number} [*a{before}, *a{before}]"),
        nested("a0: &a0 {k: 1}", "a{number}: &a{number} {{<<: [*a{before}, *a{before}]}}"),
        b"a: &a [*a]",
        b"[" * 50_000,
        b"a: " + b"9" * 10_000,
        b"a: 2001-99-99",
        b"\xff",
        b"a: [",
        b"{a: b}: c",
    ],
)
def test_what_is_not_a_config_is_refused_soon(content: bytes) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"\w"):
        parse_yaml(content)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("option", ["-cp", "-cd"])
def test_a_pipe_or_a_device_as_a_config_is_refused_before_hydra_reads_it(
    tmp_path: Path, option: str
) -> None:
    os.mkfifo(tmp_path / "mine.yaml")
    with pytest.raises(AugeanError, match=r"mine\.yaml: cannot be read \(not a regular file\)"):
        check_command_line([option, str(tmp_path), "-cn", "mine"])


def test_a_config_whose_aliases_have_no_end_is_refused_before_hydra_reads_it(
    tmp_path: Path,
) -> None:
    bomb = nested("a0: &a0 [x, x]", "a{number}: &a{number} [*a{before}, *a{before}]")
    (tmp_path / "mine.yaml").write_bytes(bomb)
    with pytest.raises(AugeanError, match=r"mine\.yaml: no valid YAML \(it stands for more than"):
        check_command_line(["-cp", str(tmp_path), "-cn", "mine"])
