"""Real sweeps in two workers, SIGKILLed and resized at random moments until the same command has
come to its end.

The small form is in `make test`, the full one in `make test-slow`. Both print their seed;
`AUGEAN_CRASH_SEED` sets it.
"""

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from augean.config.compose import compose
from augean.runs.execute import execute
from augean.store.crew_size import request_crew, supervised_sweeps
from augean.store.locks import is_locked
from augean.store.sweep_record import SweepRecord, read_records
from augean.sweeps.studies.storage import open_storage
from augean.sweeps.studies.study import AGAIN
from augean.sweeps.studies.trial import ERROR
from commands import train
from conftest import ROOT, TINY
from waiting import wait_for

MARK = "AUGEAN_CRASH_TEST"
"""Environment variable by which every process of one sweep is found again, orphans included."""
SECONDS = ("seconds", "images_per_second")
SETTING = [item for item in TINY if not item.startswith("optimizer.lr")]
GRID = [
    "-m",
    "optimizer=sgd,adam",
    "seed=0,1",
    "regularization=mixup",
    "record.step_loss=true",
    *SETTING,
]
LENGTHS = [
    "-m",
    "trainer.epochs=20,40,60",
    "seed=0,1",
    "runtime.keep_state=true",
    "record.step_loss=true",
    *(item for item in SETTING if not item.startswith("trainer.epochs")),
]
"""A sweep whose longer runs begin with the states of its shorter ones, if these are done first."""
STUDY = ["-m", "optimizer.lr=tag(log,interval(1e-3,1))", "hydra/sweeper/sampler=random", *SETTING]


@dataclass
class Sweep:
    """The processes of one command, started again and again in one output folder."""

    outputs: Path
    arguments: list[str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: "subprocess.Popen[bytes] | None" = None
    over: dict[Path, bytes] = field(default_factory=dict)
    """Summaries of runs that were over at some time."""
    has_sent_away: bool = False
    """A worker was told to leave since the last start."""

    def start(self) -> "subprocess.Popen[bytes]":
        self.has_sent_away = False
        command = [
            sys.executable,
            str(ROOT / "train.py"),
            *self.arguments,
            f"runtime.outputs={self.outputs}",
        ]
        command += ["runtime.workers=2", "runtime.threads=1"]
        environment = {**os.environ, MARK: self.mark}
        with (self.outputs.parent / f"{self.outputs.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def log(self) -> str:
        return (self.outputs.parent / f"{self.outputs.name}.log").read_text()[-4000:]

    def processes(self) -> list[int]:
        """Every live process of this sweep, from whichever start."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                alive = path.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
                if (
                    alive
                    and f"{MARK}={self.mark}".encode() in path.joinpath("environ").read_bytes()
                ):
                    found.append(int(path.name))
            except OSError:  # it has just ended
                continue
        return found

    def resize(self, generator: random.Random) -> None:
        """Ask for another number of workers, or tell one to leave."""
        assert self.process is not None
        workers = [pid for pid in self.processes() if pid != self.process.pid]
        if len(workers) > 1 and generator.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(generator.choice(workers), signal.SIGTERM)
                self.has_sent_away = True
            return
        for name in supervised_sweeps(self.outputs):
            request_crew(self.outputs, name, generator.randint(1, 3))

    def strike(self, who: str, generator: random.Random) -> None:
        """SIGKILL all processes, one worker, or the supervisor alone."""
        assert self.process is not None
        alive = self.processes()
        workers = [pid for pid in alive if pid != self.process.pid]
        victims = {
            "all": alive,
            "worker": generator.sample(workers, min(1, len(workers))),
            "supervisor": [self.process.pid],
        }
        for pid in victims[who]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def note_over(self) -> None:
        """What was over stays over, byte for byte: nothing lost, nothing trained twice."""
        for file in self.outputs.glob("runs/*/summary.json"):
            content = file.read_bytes()
            assert self.over.setdefault(file, content) == content, f"{file} was written twice"
        assert all(file.exists() for file in self.over)

    def end(self) -> None:
        """Let the last start come to its end, then look that nobody is left."""
        assert self.process is not None
        code = self.process.wait(timeout=900)
        if self.has_sent_away:  # perhaps all workers: then the same command goes on
            code = self.start().wait(timeout=900)
        assert code == 0, self.log()
        wait_for(
            lambda: not self.processes()
        )  # workers whose supervisor was killed end after their run
        self.note_over()
        for lock in self.outputs.glob("locks/*.lock"):
            assert not is_locked(self.outputs, lock.stem), f"{lock} is held"
        for path in self.outputs.glob("runs/*"):
            assert_sessions_follow_each_other(path)
            assert not [
                file.name
                for file in path.iterdir()
                if file.name.startswith(".") or "checkpoint" in file.name
            ]

    def kill_all(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def torture(sweep: Sweep, generator: random.Random, strikes: list[str], span: float) -> None:
    """Start the sweep, strike it or resize it after random times of up to `span` seconds, and start
    it again where it has ended; then let it end.

    Strikes that are left when the sweep is over stay in the list.
    """
    process = sweep.start()
    try:
        while strikes:
            try:
                process.wait(timeout=generator.uniform(0.05, span))
                break
            except subprocess.TimeoutExpired:
                who = strikes.pop()
            if who == "resize":
                sweep.resize(generator)
                continue
            sweep.strike(who, generator)
            if who != "worker":
                process.wait(timeout=60)
                sweep.note_over()
                process = sweep.start()
        sweep.end()
    finally:
        sweep.kill_all()


def assert_sessions_follow_each_other(path: Path) -> None:
    """Two processes that train one run at a time would mix their epochs in its log."""
    last = 0
    for line in (path / "train.log").read_text().splitlines():
        if found := re.search(r"resumed after epoch (\d+)", line):
            assert int(found[1]) <= last, f"{path}: resumed from an epoch that it never reached"
            last = int(found[1])
        elif found := re.search(r"begins after epoch (\d+) of run", line):
            last = int(found[1])
        elif found := re.search(r" epoch=(\d+) ", line):
            epoch = int(found[1])
            assert epoch in (last + 1, 1), f"{path}: epoch {epoch} after {last}"
            last = epoch


def facts(path: Path) -> dict[str, Any]:
    """All that a finished run has, but for seconds, rates, dates, places, the number of resumes and
    the run that it continues.
    """
    summary = json.loads((path / "summary.json").read_text())
    # The commit is that of whoever edits the code while the test runs.
    left_out = [
        "seconds",
        "train_seconds",
        "images_per_second",
        "started",
        "finished",
        "num_resumes",
        "git_commit",
        "places",
        "continued",
    ]
    timed = ("metrics.csv", "state.pt")
    files = {name: digest for name, digest in summary["files"].items() if name not in timed}
    lines = [line.split(",") for line in (path / "metrics.csv").read_text().splitlines()]
    kept = [index for index, name in enumerate(lines[0]) if name not in SECONDS]
    metrics = [[line[index] for index in kept] for line in lines]
    return {key: value for key, value in summary.items() if key not in (*left_out, "sha256")} | {
        "files": files,
        "metrics": metrics,
    }


def undisturbed(tmp_path: Path, arguments: list[str]) -> tuple[Path, float]:
    """The same sweep left alone, in this process, and how long it took."""
    outputs = tmp_path / "whole"
    start = time.monotonic()
    done = train(*arguments, f"runtime.outputs={outputs}", "runtime.threads=1")
    assert done.returncode == 0, done.stderr
    return outputs, time.monotonic() - start


def new_generator() -> random.Random:
    seed = int(os.environ.get("AUGEAN_CRASH_SEED", random.randrange(10**6)))
    print(f"AUGEAN_CRASH_SEED={seed}")
    return random.Random(seed)


def crash_grid(
    tmp_path: Path, strikes: list[str], arguments: list[str], reference: list[str] | None = None
) -> None:
    """Torture a sweep until no strike is left, and compare its runs with undisturbed ones.

    Args:
        reference: the arguments of the undisturbed sweep, by default the same.
    """
    generator = new_generator()
    whole, seconds = undisturbed(tmp_path, reference or arguments)
    num_runs = len(list((whole / "runs").iterdir()))
    # Half of what two workers need, with their imports: each sweep is struck more than once.
    span = seconds / 4 + 2.5
    generator.shuffle(strikes)
    num_strikes, round_ = len(strikes), 0
    while strikes:
        sweep = Sweep(tmp_path / f"round{round_}", arguments)
        torture(sweep, generator, strikes, span)
        paths = sorted(sweep.outputs.glob("runs/*"))
        assert [path.name for path in paths] == sorted(
            path.name for path in (whole / "runs").iterdir()
        )
        for path in paths:
            assert facts(path) == facts(whole / "runs" / path.name)
        (record,) = read_records(sweep.outputs)[0]
        assert record.states(sweep.outputs) == Counter(finished=num_runs)
        round_ += 1
    print(
        f"{num_strikes} times disturbed, in {round_} sweeps of {num_runs} runs: all finished,"
        " none trained twice, bit-identical"
    )


def crash_study(
    tmp_path: Path, strikes: list[str], epochs: int, num_trials: int, *more: str
) -> None:
    generator = new_generator()
    arguments = [*STUDY, f"trainer.epochs={epochs}", f"hydra.sweeper.n_trials={num_trials}", *more]
    generator.shuffle(strikes)
    num_strikes, round_, span = len(strikes), 0, 12.0
    while strikes:
        sweep = Sweep(tmp_path / f"study{round_}", arguments)
        torture(sweep, generator, strikes, span)
        check_study(sweep.outputs, num_trials)
        round_ += 1
    print(
        f"{num_strikes} times disturbed, in {round_} studies of {num_trials} trials: exact, none"
        " twice, none lost"
    )


def check_study(outputs: Path, num_trials: int) -> None:
    (journal,) = (outputs / "studies").glob("*.journal")
    trials = optuna.load_study(study_name=None, storage=open_storage(str(journal))).trials
    states = Counter(trial.state.name for trial in trials)
    assert (states["COMPLETE"], states["RUNNING"], states["WAITING"]) == (num_trials, 0, 0)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len({trial.params["optimizer.lr"] for trial in complete}) == num_trials
    again = Counter(trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs)
    dead = [
        trial.number
        for trial in trials
        if trial.state.name == "FAIL" and ERROR not in trial.user_attrs
    ]
    assert again == Counter(dead), "each trial that died is queued again, once"
    (record,) = read_records(outputs)[0]
    jobs = [job for job in record.jobs if job.state == "complete"]
    assert len(jobs) == len({job.id for job in jobs}) == num_trials
    for job in jobs:
        path = outputs / "runs" / job.run
        assert job.score == json.loads((path / "summary.json").read_text())["val_accuracy"]
    check_confirmation(outputs, record)
    resumed = max(
        jobs,
        key=lambda job: json.loads((outputs / "runs" / job.run / "summary.json").read_text())[
            "num_resumes"
        ],
    )
    config = compose(
        [f"runtime.outputs={outputs}-alone", "runtime.threads=1", "runtime.progress=none"],
        folder=(outputs / "runs" / resumed.run),
    )
    assert facts(execute(config).address.path) == facts(outputs / "runs" / resumed.run)


def check_confirmation(outputs: Path, record: SweepRecord) -> None:
    """Each of the best trials has the mean of all its new seeds, once each."""
    confirmed = [job for job in record.trials if job.confirmed_score is not None]
    assert len(confirmed) == record.confirm.get("top", 0)
    for trial in confirmed:
        row = f"trial {trial.trial}, new seeds"
        again = [job for job in record.jobs if job.row == row]
        assert len({job.seed for job in again} - {trial.seed}) == record.confirm["seeds"]
        summaries = [outputs / "runs" / job.run / "summary.json" for job in again]
        scores = [json.loads(path.read_text())["val_accuracy"] for path in summaries]
        assert trial.confirmed_score == statistics.fmean(scores)


def test_a_study_killed_a_few_times_has_exactly_its_trials(tmp_path: Path) -> None:
    crash_study(tmp_path, ["all", "worker", "supervisor"], epochs=12, num_trials=3)


@pytest.mark.slow
def test_a_sweep_killed_50_times_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    strikes = ["all"] * 20 + ["worker"] * 20 + ["supervisor"] * 10
    crash_grid(tmp_path, strikes, [*GRID, "trainer.epochs=60"])


@pytest.mark.slow
def test_a_sweep_killed_and_resized_50_times_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    strikes = ["resize"] * 30 + ["all"] * 6 + ["worker"] * 10 + ["supervisor"] * 4
    crash_grid(tmp_path, strikes, [*GRID, "seed=0,1,2", "trainer.epochs=60"])


@pytest.mark.slow
def test_killed_runs_that_continue_each_other_end_as_if_trained_from_the_start(
    tmp_path: Path,
) -> None:
    strikes = ["all"] * 8 + ["worker"] * 8 + ["supervisor"] * 4
    # Without a kept state no run continues another.
    from_the_start = [item for item in LENGTHS if item != "runtime.keep_state=true"]
    crash_grid(tmp_path, strikes, LENGTHS, from_the_start)


@pytest.mark.slow
def test_a_study_killed_40_times_has_exactly_its_trials(tmp_path: Path) -> None:
    strikes = ["all"] * 16 + ["worker"] * 16 + ["supervisor"] * 8
    crash_study(tmp_path, strikes, 40, 8, "hydra.sweeper.confirm={top: 3, seeds: 2}")


@pytest.mark.slow
def test_workers_that_are_all_killed_at_once_are_replaced_too(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", [*GRID, "optimizer=sgd", "trainer.epochs=30"])
    process = sweep.start()
    try:
        wait_for(lambda: len(list(sweep.outputs.glob("runs/*/checkpoint.pt"))) == 2)
        process.send_signal(signal.SIGSTOP)  # it sees both deaths in one look
        for pid in sweep.processes():
            if pid != process.pid:
                os.kill(pid, signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        sweep.end()
        assert len(sweep.over) == 2
        assert "killed by signal 9; starting another" in sweep.log()
    finally:
        sweep.kill_all()


@pytest.mark.slow
def test_a_worker_whose_supervisor_was_killed_ends_after_its_run(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", [*GRID, "trainer.epochs=60"])
    process = sweep.start()
    try:
        wait_for(lambda: len(list(sweep.outputs.glob("runs/*/checkpoint.pt"))) == 2)
        sweep.strike("supervisor", random.Random(0))
        process.wait()
        wait_for(lambda: not sweep.processes(), 300)
        assert len(list(sweep.outputs.glob("runs/*/summary.json"))) == 2
        assert len(list(sweep.outputs.glob("runs/*"))) == 2
    finally:
        sweep.kill_all()
