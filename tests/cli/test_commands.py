"""The commands as a whole: what they load, what their help shows, and other names of the entry."""

import subprocess
import sys
from pathlib import Path

import pytest

from augean.cli.main import build_parser

HEAVY = {"torch", "pandas", "hydra", "matplotlib", "optuna"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["status"], ["status", "--help"]])
def test_a_quick_command_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import atexit, sys; from augean.cli.main import main; "
        "atexit.register(lambda: print('loaded:', *sys.modules)); main()"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.partition("loaded:")[2].split()
    assert "augean.cli.main" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("command", ["report", "settle", "evaluate", "pack", "bench"])
def test_the_help_of_a_command_ends_with_its_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command, "--help"])
    page = capsys.readouterr().out
    assert page.index("usage:") < page.index("exit codes: 0 done;")
    assert "examples:\n\n" not in page, "a heading without examples"


def test_the_older_module_of_the_entry_is_the_entry_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "augean.train", "--cfg", "job", "seed=3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "seed: 3" in done.stdout.splitlines()
