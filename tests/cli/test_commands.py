"""The commands as a whole: what they load, what their help shows, and other names of the entry."""

import subprocess
import sys
from pathlib import Path

import pytest

from augean.cli.main import build_parser
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_progress import RunProgress
from commands import augean
from fake_runs import write_record, write_run

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


def test_status_shows_how_far_a_run_in_training_is(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, state="interrupted", seed=seed, row="elu") for seed in (0, 1)]
    write_record(tmp_path, "table1", jobs)
    for job in jobs:
        RunProgress(
            epoch=4, epochs=12, fraction=0.3, seconds_left=200.0, val_accuracy=0.7123
        ).write(runs_dir(tmp_path) / job["run"])
    # The other was killed, and left its file behind.
    with hold_lock(tmp_path, jobs[0]["id"], wait=False):
        done = augean("status", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "epoch" in line)
    assert line == "  elu, seed 0: epoch 4 of 12, validation 71.23%, about 3 min 20 s left"
