"""Workers that are told to leave, and sweeps that get more or fewer of them while they run."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from augean.errors import AugeanError
from augean.signals import ChildProcesses
from augean.store.crew_size import announce_crew, read_crew, request_crew, supervised_sweeps
from augean.store.locks import is_locked
from augean.store.sweep_record import read_records
from augean.sweeps.workers import supervise
from commands import augean, train, train_command
from conftest import ROOT, TINY, composed
from waiting import wait_for


@contextmanager
def sweep(
    outputs: Path, *points: str, workers: int, epochs: int
) -> "Iterator[subprocess.Popen[str]]":
    """Run a sweep in several workers; kill what is left of it at the end."""
    command = train_command(
        "-m",
        *TINY,
        *points,
        f"trainer.epochs={epochs}",
        f"runtime.outputs={outputs}",
        f"runtime.workers={workers}",
        "runtime.threads=1",
    )
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in [*workers_of(process), process.pid]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in children.split()]


def in_training(outputs: Path) -> list[Path]:
    return list(outputs.glob("runs/*/checkpoint.pt"))


def test_a_worker_that_is_told_to_leave_is_not_replaced_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    with sweep(tmp_path, "seed=range(0,3)", workers=2, epochs=12) as process:
        wait_for(lambda: len(in_training(tmp_path)) >= 2, process=process)
        os.kill(workers_of(process)[0], signal.SIGTERM)
        wait_for(lambda: len(workers_of(process)) == 1, process=process)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert "told to leave" in stdout
    assert "starting another" not in stderr
    assert "3 finished" in stdout


def test_a_study_that_all_workers_have_left_has_no_winner_yet(tmp_path: Path) -> None:
    study = ("optimizer.lr=tag(log,interval(1e-3,1))", "hydra.sweeper.n_trials=3")
    with sweep(tmp_path, *study, workers=2, epochs=60) as process:
        wait_for(lambda: len(in_training(tmp_path)) >= 2, process=process)
        for pid in workers_of(process):
            os.kill(pid, signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 1
    assert "trials are missing. The same command goes on" in stdout + stderr
    (record,), _ = read_records(tmp_path)
    assert record.kind == "study"
    assert not record.winner


def test_a_running_sweep_gets_more_and_fewer_workers(tmp_path: Path) -> None:
    with sweep(tmp_path, "seed=range(0,4)", workers=2, epochs=25) as process:
        wait_for(lambda: len(in_training(tmp_path)) >= 2, process=process)
        (name,) = supervised_sweeps(tmp_path)
        done = augean("workers", name, "3", "--outputs", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "3 workers from now on, 2 before" in done.stdout
        wait_for(lambda: len(workers_of(process)) == 3, process=process)
        done = augean("workers", name, "1", "--outputs", str(tmp_path))
        assert done.returncode == 0, done.stderr
        wait_for(lambda: len(workers_of(process)) == 1, process=process)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert "4 finished" in stdout
    assert supervised_sweeps(tmp_path) == []
    assert not list(tmp_path.glob("workers/*"))


def test_requests_are_told_apart_even_for_the_same_number(tmp_path: Path) -> None:
    with announce_crew(tmp_path, "table1", 2) as read_size:
        first = read_size()
        assert (first.workers, read_crew(tmp_path, "table1")) == (2, 2)
        request_crew(tmp_path, "table1", 2)
        assert read_size().workers == 2
        assert read_size() != first
        (tmp_path / "workers" / "table1.json").write_text("{")
        assert read_size() == first
    assert not is_locked(tmp_path, "workers-table1")
    with pytest.raises(AugeanError, match="no workers"):
        read_crew(tmp_path, "table1")


def test_a_second_supervisor_keeps_its_own_number(tmp_path: Path) -> None:
    with (
        announce_crew(tmp_path, "table1", 2) as read_first,
        announce_crew(tmp_path, "table1", 5) as read_second,
    ):
        request_crew(tmp_path, "table1", 3)
        assert (read_first().workers, read_second().workers) == (3, 5)
    assert supervised_sweeps(tmp_path) == []


@pytest.mark.parametrize("word", ["2", "nosuch"])
def test_a_name_of_no_sweep_with_workers_is_refused(word: str, tmp_path: Path) -> None:
    assert augean("workers", word, "--outputs", str(tmp_path)).returncode == 0
    with announce_crew(tmp_path, "table1", 2):
        done = augean("workers", word, "--outputs", str(tmp_path))
    assert done.returncode == 1
    assert "There are table1" in done.stderr


@pytest.mark.parametrize("words", [["nothing", "2"], ["table", "0"], ["table", "x"]])
def test_what_cannot_be_resized_is_refused(words: list[str], tmp_path: Path) -> None:
    with announce_crew(tmp_path, "table1", 2), announce_crew(tmp_path, "table2", 2):
        done = augean("workers", *words, "--outputs", str(tmp_path))
        assert done.returncode in (1, 2)
        ambiguous = augean("workers", "table", "3", "--outputs", str(tmp_path))
        assert "table1, table2" in ambiguous.stderr
        assert read_crew(tmp_path, "table1") == 2


def test_workers_share_out_the_cores_that_the_sweep_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = []

    def start(self: ChildProcesses, _: Sequence[str], env: dict[str, str]) -> Any:
        environments.append(env)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(ChildProcesses, "start", start)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    runtime = composed(*TINY).runtime
    supervise("mine", 2, replace(runtime, outputs=str(tmp_path), threads=None), since=0.0)
    assert [env["OMP_NUM_THREADS"] for env in environments] == ["3", "3"]


def test_workers_that_plan_other_runs_than_their_sweep_train_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ChildProcesses.start
    file = tmp_path / "mine.yaml"
    text = (
        "defaults: [/config, _self_]\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )

    def edit_and_start(self: ChildProcesses, command: Sequence[str], env: dict[str, str]) -> Any:
        file.write_text(text.replace("0,1", "0,7"))
        return start(self, command, env=env)

    monkeypatch.setattr(ChildProcesses, "start", edit_and_start)
    file.write_text(text)
    done = train(
        *("-cd", str(tmp_path), "-cn", "mine", *TINY),
        f"runtime.outputs={tmp_path}/outputs",
        "runtime.workers=2",
    )
    assert done.returncode == 1
    assert "2 missing" in done.stdout
    assert (done.stdout + done.stderr).count("asks for other runs") == 1
    assert not list(tmp_path.glob("outputs/runs/*"))
