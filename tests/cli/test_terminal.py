"""What is shown: bars and colours on a terminal alone, little when quiet, and how long a sweep
still takes.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from augean.hydra_main import main
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.terminal import counted
from conftest import TINY

TIMEOUT_SECONDS = 240


def on_terminal(*words: str, **environment: str) -> str:
    """What a command of augean writes to a terminal of 80 columns, both streams together."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    without = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    child = subprocess.Popen(
        [sys.executable, "-m", "augean", *words],
        env={**without, "TERM": "xterm", **environment},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert child.wait(TIMEOUT_SECONDS) == 0
    return said.decode()


def test_a_quiet_sweep_says_what_is_left_and_for_how_long_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # TINY has runtime.progress=none.
    monkeypatch.setattr(
        sys, "argv", ["train.py", "-m", *TINY, "seed=0,1", f"runtime.outputs={tmp_path}"]
    )
    main()
    out, err = capsys.readouterr()
    patterns = [
        r"Sweep \S+: 2 runs, 0 of them there already\.",
        r"\[2 left\] .*",
        r"Run \w+ finished: .*",
        r"  validation .*, test .*",
        r"\[1 left, about \d+ s\] .*",
        r"Run \w+ finished: .*",
        r"  validation .*, test .*",
        r"Sweep \S+: 2 finished, 0 diverged, 0 failed \(0 were there before\)\.",
    ]
    lines = out.splitlines()
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert err == ""
    assert "\033" not in out


def test_a_run_on_a_terminal_shows_a_bar_that_fits_and_the_time_left(tmp_path: Path) -> None:
    said = on_terminal("train", *TINY, "runtime.progress=auto", f"runtime.outputs={tmp_path}")
    bars = [line for line in re.split(r"[\r\n]+", said) if line.startswith("epoch")]
    assert re.fullmatch(
        r"epoch 3/3 100% \|█+\| 00:00 left, train \d+\.\d+%, val \d+\.\d+%\s*", bars[-1]
    )
    assert max(map(len, bars)) <= 80


def test_colours_are_for_terminals_whose_user_did_not_refuse_them(tmp_path: Path) -> None:
    record = SweepRecord(
        "table", "Table", "augean train", "now", [SweepJob("0123456789", "run", "row", 0)]
    )
    record.write(tmp_path)
    (tmp_path / "runs" / "run").mkdir(parents=True)  # begun, not over: interrupted
    ask = ("status", "--outputs", str(tmp_path))
    assert "\033[33m1 interrupted\033[0m" in on_terminal(*ask)
    assert "table (Table): 1 interrupted\r\n" in on_terminal(*ask, NO_COLOR="1")
    piped = subprocess.run([sys.executable, "-m", "augean", *ask], capture_output=True, text=True)
    assert "table (Table): 1 interrupted\n" in piped.stdout


# Writing never decides the fate of a run


def run_in_shell(
    command: str, tmp_path: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which $AUGEAN is the program."""
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "AUGEAN": f"{sys.executable} -m augean", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


@pytest.mark.parametrize("sink", ["> /dev/full", "2> /dev/full", "&> /dev/full", "| true"])
def test_a_training_whose_output_is_lost_still_finishes(sink: str, tmp_path: Path) -> None:
    words = shlex.join(["train", *TINY, "runtime.progress=plain", "runtime.outputs=out"])
    done = run_in_shell(f"$AUGEAN {words} {sink}; echo status ${{PIPESTATUS[0]}}", tmp_path)
    assert done.stdout.splitlines()[-1] == "status 0"
    assert "Traceback" not in done.stdout + done.stderr
    assert len(list((tmp_path / "out/runs").glob("*/summary.json"))) == 1


def test_a_list_whose_output_is_lost_fails_with_the_reason(tmp_path: Path) -> None:
    write_record_of_one_job(tmp_path, title="a")
    done = run_in_shell(f"$AUGEAN status --outputs {tmp_path} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "stdout: No space left on device; what was printed is not complete\n"


def test_a_letter_that_the_locale_lacks_is_spelled_out(tmp_path: Path) -> None:
    write_record_of_one_job(tmp_path, title="a – b")
    listing = f"$AUGEAN status one --outputs {tmp_path}"
    done = run_in_shell(listing, tmp_path, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert r"a \u2013 b" in done.stdout


def test_a_row_whose_label_the_locale_lacks_is_trained(tmp_path: Path) -> None:
    (tmp_path / "dashes.yaml").write_text(
        "defaults: [config, _self_]\nhydra: {mode: MULTIRUN, sweeper: {rows: {a – b: [seed=1]}}}\n",
        encoding="utf-8",
    )
    words = shlex.join(["train", "-cd", ".", "-cn", "dashes", *TINY, "runtime.outputs=out"])
    narrow = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "latin-1",
    }
    done = run_in_shell(f"$AUGEAN {words}", tmp_path, **narrow)
    assert done.returncode == 0, done.stderr
    done = run_in_shell("$AUGEAN report --outputs out", tmp_path, **narrow)
    assert done.returncode == 0, done.stderr
    assert "a – b" in (tmp_path / "out/report/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_command_whose_output_was_closed_works_on(closed: str, tmp_path: Path) -> None:
    write_record_of_one_job(tmp_path, title="a")
    done = run_in_shell(f"$AUGEAN report --outputs {tmp_path} {closed}", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_the_report_takes_no_backend_from_a_notebook(tmp_path: Path) -> None:
    write_record_of_one_job(tmp_path, title="a")
    backend = "module://a_backend_that_is_not_installed"
    done = run_in_shell(f"$AUGEAN report --outputs {tmp_path}", tmp_path, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr


def write_record_of_one_job(outputs: Path, title: str) -> None:
    job = SweepJob(id="0123456789", run="digits-0123456789", row="0", seed=0)
    SweepRecord(
        name="one", title=title, command="augean train -cn one", created="2026-01-01", jobs=[job]
    ).write(outputs)


@pytest.mark.parametrize(("number", "text"), [(0, "0 runs"), (1, "1 run"), (1200, "1,200 runs")])
def test_a_number_of_things_is_written_with_the_noun_that_fits(number: int, text: str) -> None:
    assert counted(number, "run") == text
