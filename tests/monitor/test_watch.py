"""`augean watch`: what it shows of every kind of run, that it disturbs nobody, and its speed."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from rich.console import Console

from augean.cli.watch import Watch
from augean.monitor.sweep_status import SILENT_SECONDS, StatusReader
from augean.monitor.terminal import render
from augean.monitor.view import SweepView, describe_progress, view_sweep
from augean.store import locks
from augean.store.run_directory import read_failure_line, runs_dir
from augean.store.run_progress import RunProgress
from augean.store.sweep_record import SweepRecord, read_record
from commands import augean
from fake_runs import trial_job, write_many, write_record, write_run
from waiting import wait_for

FRAMES = "Traceback (most recent call last):\n  File ...\n"


def write_states(outputs: Path) -> dict[str, dict[str, object]]:
    """Write a sweep with a run of every state; return its jobs by state."""
    jobs = {}
    states = ("finished", "diverged", "interrupted", "failed", "missing", "running")
    for seed, state in enumerate(states):
        written = "interrupted" if state == "running" else state
        jobs[state] = write_run(outputs, state=written, accuracy=0.9, seed=seed, row="[red] elu")
    progress = RunProgress(
        epoch=4, epochs=12, fraction=0.3, seconds_left=200.0, val_accuracy=0.7123
    )
    progress.write(runs_dir(outputs) / str(jobs["running"]["run"]))
    write_record(outputs, "table1", list(jobs.values()), baseline="[red] elu")
    return jobs


def view(outputs: Path, name: str = "table1") -> SweepView:
    reader = StatusReader(outputs)
    return view_sweep(reader.read(read_record(outputs / "sweeps" / f"{name}.json")))


def test_every_state_is_counted_and_what_matters_is_listed(tmp_path: Path) -> None:
    write_states(tmp_path)
    shown = view(tmp_path)
    assert [text for text, _ in shown.counts] == [
        "1 finished",
        "1 diverged",
        "1 running",
        "1 interrupted",
        "1 failed",
        "1 missing",
    ]
    ((row, n, test, sd, _, gaps),) = shown.rows
    assert (row, n, test, sd) == ("[red] elu", "1", "90.00", "-")
    assert gaps == "1 diverged, 1 running, 1 interrupted, 1 failed, 1 missing"
    ((_, seed, epoch, val, left, _),) = shown.training
    assert (seed, epoch, val) == ("5", "4 of 12", "71.23")
    assert left.startswith("3 min ")
    assert shown.failures == [("[red] elu", "3", "out of memory")]


def test_a_run_that_gives_no_sign_is_not_running(tmp_path: Path) -> None:
    jobs = write_states(tmp_path)
    old = RunProgress(
        epoch=4, epochs=12, fraction=0.3, seconds_left=9.0, updated=time.time() - SILENT_SECONDS
    )
    old.write(runs_dir(tmp_path) / str(jobs["running"]["run"]))
    assert view(tmp_path).training == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "dataset.name=cats: cannot read\nExpected: train/ and test/\n",
            "dataset.name=cats: cannot read",
        ),
        (f"{FRAMES}ValueError: no such thing\n", "ValueError: no such thing"),
        (f"{FRAMES}RuntimeError: no device\nset this to debug\n", "RuntimeError: no device"),
        (f"{FRAMES}KeyError: 1\n\nDuring that:\n\n{FRAMES}OSError: gone\n", "OSError: gone"),
    ],
)
def test_a_failure_is_shown_by_the_line_that_says_what_is_wrong(
    text: str, line: str, tmp_path: Path
) -> None:
    jobs = write_states(tmp_path)
    directory = runs_dir(tmp_path) / str(jobs["failed"]["run"])
    (directory / "failure.txt").write_text(text)
    assert read_failure_line(directory) == line
    assert view(tmp_path).failures == [("[red] elu", "3", line)]


def test_means_run_with_the_runs_and_records_may_grow(tmp_path: Path) -> None:
    reader = StatusReader(tmp_path)
    jobs = [write_run(tmp_path, accuracy=0.9, seed=0, row="elu")]
    for accuracy, mean in ((0.92, "91.00"), (0.94, "92.00")):
        jobs.append(write_run(tmp_path, accuracy=accuracy, seed=len(jobs), row="elu"))
        write_record(tmp_path, "table1", jobs)
        (record,) = reader.read_records()
        ((_, n, test, *_),) = view_sweep(reader.read(record)).rows
        assert (n, test) == (str(len(jobs)), mean)


def test_no_lock_is_touched_and_nothing_is_written(tmp_path: Path) -> None:
    write_states(tmp_path)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with mock.patch.object(locks, "FileLock", side_effect=AssertionError):
        done = augean("watch", "--once", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "[red] elu" in done.stdout
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_damaged_records_are_named_and_the_others_shown(tmp_path: Path) -> None:
    write_states(tmp_path)
    (tmp_path / "sweeps" / "bad.json").write_text("{")
    done = augean("watch", "--once", "--outputs", str(tmp_path))
    assert "not a sweep record" in done.stdout
    assert "table1" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--every", "0"], "above 0"),
        (["--every", "nan"], "above 0"),
        (["--outputs", "nowhere"], "no such folder"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    done = augean("watch", *words, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr


def test_the_page_escapes_and_reloads_until_the_command_ends(tmp_path: Path) -> None:
    job = write_run(tmp_path, state="failed", row="<b>")
    write_record(tmp_path, "table1", [job], title="<script>")
    page = tmp_path / "page.html"
    watch = Watch(StatusReader(tmp_path), "", 5.0, page)
    watch.look()
    text = page.read_text()
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert '<meta http-equiv="refresh" content="5">' in text
    watch.look(last=True)
    assert "refresh" not in page.read_text()
    assert "the command has ended" in page.read_text()


def test_a_file_that_is_not_the_page_is_not_replaced(tmp_path: Path) -> None:
    write_states(tmp_path)
    page = tmp_path / "w.html"
    page.write_text("<html>mine</html>")
    words = ["watch", "--once", "--page", str(page), "--outputs", str(tmp_path)]
    done = augean(*words)
    assert done.returncode == 1
    assert f"--page {page}: exists and is not a page of augean watch; remove it" in done.stderr
    assert page.read_text() == "<html>mine</html>"
    page.unlink()
    for _ in range(2):  # its own page is replaced
        assert augean(*words).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_watch_leaves_a_whole_page_and_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    write_states(tmp_path)
    watch = f"{sys.executable} -m augean watch --page --every 0.1 --outputs {tmp_path}"
    # `&` in a script: a shell has such a command ignore Ctrl-C.
    command = ["sh", "-c", f"{watch} > /dev/null & echo $!; wait $!; echo $?"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    page = tmp_path / "watch.html"
    wait_for(page.exists)
    os.kill(pid, number)
    assert int(process.stdout.read()) == 0
    process.wait()
    process.stdout.close()
    assert "the command has ended" in page.read_text()
    assert page.read_text().endswith("</html>")


def test_the_table_is_live_in_a_terminal(tmp_path: Path) -> None:
    write_states(tmp_path)
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "augean", "watch", "--every", "0.1"]
    with subprocess.Popen(
        [*command, "--outputs", str(tmp_path)], stdout=terminal, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(terminal)
        shown = b""
        while shown.count(b"table1 (table1)") < 2:  # drawn again in place
            shown += os.read(controller, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not os.read(controller, 4096):
                    break
            except OSError:  # the terminal's other end is closed
                break
        assert process.wait(timeout=120) == 0
    os.close(controller)
    assert b"out of memory" in shown
    assert re.search(rb"\x1b\[\d*A", shown), "the cursor goes up"


def test_a_look_costs_little_for_each_run(tmp_path: Path) -> None:
    number = 1000
    write_many(tmp_path, number, epochs=1)
    watch = Watch(StatusReader(tmp_path), "", 2.0, None)
    watch.look()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        watch.look()
        console = Console(file=open(os.devnull, "w"), width=120, height=40)  # noqa: SIM115
        console.print(render(watch.views, watch.remarks, 40))
        console.file.close()
        seconds.append(time.process_time() - start)
    # 10,000 runs take below a second.
    assert min(seconds) / number * 10_000 < 1.0


def test_a_winner_that_is_a_trials_own_run_is_counted(tmp_path: Path) -> None:
    written = [write_run(tmp_path, seed=seed, accuracy=0.9, row="winner") for seed in range(2)]
    trial = written[0] | {"row": "trial 0", "trial": 0, "state": "complete", "score": 0.9}
    write_record(tmp_path, "tune", [trial, *written], kind="study", winner=["seed=0"])
    record = read_record(tmp_path / "sweeps" / "tune.json")
    status = StatusReader(tmp_path).read(record)
    assert status.states == record.states(tmp_path) == {"finished": 2}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_trials": 6}, "2 of 6 trials done"),
        (
            {"num_trials": 6, "timeout": "90s", "winner": ["a=1"]},
            "2 trials in 90s of training done, its time is spent",
        ),
        ({"num_trials": 1, "winner": ["a=1"]}, "2 trials done"),
    ],
)
def test_progress_of_a_study_says_what_ended_it(options: dict[str, Any], expected: str) -> None:
    jobs = [trial_job(number, 0.5) for number in range(2)]
    record = SweepRecord(
        name="tune", title="T", command="c", created="now", jobs=jobs, kind="study", **options
    )
    assert describe_progress(record) == expected
