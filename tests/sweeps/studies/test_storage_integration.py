"""Studies in a real PostgreSQL and in SQLite beside the journal file, and optuna-dashboard on all
three.

Each test names the program or package that it misses.
"""

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest

from augean.store.sweep_record import read_records
from augean.sweeps.studies.storage import open_storage
from augean.sweeps.studies.trial import RUN
from conftest import ROOT, TINY
from waiting import wait_for

pytestmark = pytest.mark.integration

STUDY = [
    "-m", "optimizer.lr=tag(log,interval(1e-3,1))", "activation=relu,elu",
    *[item for item in TINY if "optimizer.lr" not in item], "trainer.epochs=2",
]  # fmt: skip
SERVER_USER = "postgres"
"""Who runs the server when the tests run as root, which PostgreSQL refuses; Debian's package makes
this user."""


def programs() -> Path | None:
    """Folder of PostgreSQL's server programs, which Debian keeps outside PATH."""
    found = shutil.which("pg_ctl")
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    return folders[-1] if folders else Path(found).resolve().parent if found else None


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of this test's own, on loopback alone, with its data in a temporary folder."""

    bin: Path
    folder: Path
    port: int

    def run(self, *command: str) -> None:
        owner = (
            {"user": SERVER_USER, "group": SERVER_USER, "extra_groups": []}
            if os.geteuid() == 0
            else {}
        )
        # Into a file: the server would hold a pipe open.
        with (self.folder.parent / f"{self.folder.name}.log").open("a") as log:
            program, *arguments = command
            subprocess.run(
                [self.bin / program, *arguments],
                cwd=self.folder, check=True, timeout=120, stdout=log, stderr=log, **owner,  # type: ignore[call-overload]
            )  # fmt: skip

    def control(self, *arguments: str) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", *arguments)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off -k {self.folder}"
        self.control("-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "augean", name)
        return f"postgresql+psycopg://augean@127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (pip install 'augean[postgresql]')")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(
        tempfile.mkdtemp(prefix="augean-postgresql-")
    )  # not pytest's, which is closed to other users
    if os.geteuid() == 0:
        shutil.chown(folder, SERVER_USER, SERVER_USER)
    made = Server(found, folder, port)
    try:
        made.run("initdb", "-D", f"{folder}/data", "-U", "augean", "--auth=trust", "--no-sync")
        made.start()
        yield made
        made.stop()
    finally:
        shutil.rmtree(folder)
        folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.slow), "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty storage of each kind."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("server")
        return server.database(f"db_{tmp_path.name.lower()}"[:60].replace("-", "_"))
    return (
        f"sqlite:///{tmp_path}/studies.db"
        if request.param == "sqlite"
        else f"{tmp_path}/study.journal"
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=600, cwd=ROOT
    )


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def load(storage: str) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=open_storage(storage))


def states(storage: str) -> Counter[str]:
    return Counter(trial.state.name for trial in load(storage).trials)


def assert_exact(storage: str, outputs: Path, num_trials: int) -> None:
    """The study has its trials, no more, each with a run of its own that was trained from the start
    once.
    """
    trials = load(storage).trials
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len(complete) == num_trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    assert len({trial.user_attrs[RUN]["id"] for trial in complete}) == num_trials
    (record,) = read_records(outputs)[0]
    assert sorted(job.trial for job in record.jobs if job.state == "complete") == [
        item.number for item in complete
    ]
    for trial in complete:
        path = outputs / "runs" / trial.user_attrs[RUN]["run"]
        summary = json.loads((path / "summary.json").read_text())
        assert trial.value == summary["val_accuracy"]
        assert (path / "train.log").read_text().count("started on") == 1 + summary["num_resumes"]


def create(url: str, number: int, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        study = optuna.create_study(
            storage=open_storage(url), study_name=f"study-{number % 2}", load_if_exists=True
        )
        results.put(study.study_name)
    except BaseException as error:
        results.put(repr(error))


def test_processes_that_open_an_empty_storage_at_once_all_get_their_study(storage: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(6), context.Queue()
    processes = [
        context.Process(target=create, args=(storage, number, barrier, results))
        for number in range(6)
    ]
    for process in processes:
        process.start()
    assert Counter(results.get(timeout=240) for _ in processes) == Counter(
        {"study-0": 3, "study-1": 3}
    )
    for process in processes:
        process.join()
    assert sorted(optuna.get_all_study_names(open_storage(storage))) == ["study-0", "study-1"]


def test_first_starts_at_one_moment_make_one_study_with_an_exact_budget(
    storage: str, tmp_path: Path
) -> None:
    arguments = [
        *STUDY, "hydra.sweeper.n_trials=5", f"hydra.sweeper.storage={storage}",
        f"runtime.outputs={tmp_path}/out",
    ]  # fmt: skip
    processes = [start(*arguments) for _ in range(3)]
    for process in processes:
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
    assert_exact(storage, tmp_path / "out", 5)
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    assert "5 trials, 5 of them done already" in again.stdout
    assert states(storage) == Counter(COMPLETE=5)


def test_workers_keep_the_budget_and_share_no_trial(storage: str, tmp_path: Path) -> None:
    done = run(
        *STUDY, "hydra.sweeper.n_trials=9", f"hydra.sweeper.storage={storage}", "runtime.workers=4",
        f"runtime.outputs={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_exact(storage, tmp_path / "out", 9)
    assert states(storage) == Counter(COMPLETE=9)


def test_a_killed_workers_trial_is_queued_again_and_the_same_command_goes_on(
    storage: str, tmp_path: Path
) -> None:
    outputs = tmp_path / "out"
    arguments = [
        *STUDY, "trainer.epochs=20", "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={storage}",
        f"runtime.outputs={outputs}",
    ]  # fmt: skip
    process = start(*arguments)
    wait_for(lambda: list(outputs.glob("runs/*/checkpoint.prev.pt")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert states(storage)["RUNNING"] == 1
    done = run(*arguments, "runtime.workers=2")
    assert done.returncode == 0, done.stderr
    assert_exact(storage, outputs, 3)
    trials = load(storage).trials
    (dead,) = [trial for trial in trials if trial.state.name == "FAIL"]
    (again,) = [
        trial for trial in trials if trial.state.name == "COMPLETE" and trial.params == dead.params
    ]
    summary = json.loads(
        (outputs / "runs" / again.user_attrs[RUN]["run"] / "summary.json").read_text()
    )
    assert summary["num_resumes"] == 1


def test_a_study_outlives_a_restart_of_its_database(server: Server, tmp_path: Path) -> None:
    storage, outputs = server.database("restarted"), tmp_path / "out"
    arguments = [
        *STUDY, "trainer.epochs=20", "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={storage}",
        f"runtime.outputs={outputs}",
    ]  # fmt: skip
    process = start(*arguments)
    wait_for(lambda: list(outputs.glob("runs/*/checkpoint.prev.pt")))
    server.stop()
    time.sleep(3)
    server.start()
    stdout, stderr = process.communicate(timeout=600)
    if (
        process.returncode
    ):  # a statement that was under way is lost: the study says so and goes on when asked
        assert "the study's storage cannot be reached any more" in stderr, stderr + stdout
        assert "Traceback" not in stderr
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    assert_exact(storage, outputs, 3)


def test_a_study_whose_database_is_gone_ends_with_a_message_and_goes_on_later(
    server: Server, tmp_path: Path
) -> None:
    storage, outputs = server.database("gone"), tmp_path / "out"
    arguments = [
        *STUDY, "trainer.epochs=20", "hydra.sweeper.n_trials=2", f"hydra.sweeper.storage={storage}",
        f"runtime.outputs={outputs}",
    ]  # fmt: skip
    process = start(*arguments)
    wait_for(lambda: list(outputs.glob("runs/*/checkpoint.prev.pt")))
    server.run(
        "dropdb", "--force", "-h", "127.0.0.1", "-p", str(server.port), "-U", "augean", "gone"
    )
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert stderr.count("the study's storage cannot be reached any more") == 1
    assert "Traceback" not in stderr
    server.database("gone")
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert_exact(storage, outputs, 2)


def request(url: str, content: dict[str, Any] | None = None) -> str:
    """GET, or with a content PUT."""
    body = None if content is None else json.dumps(content).encode()
    message = urllib.request.Request(
        url,
        data=body,
        method="GET" if body is None else "PUT",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(message, timeout=60) as answer:
        return str(answer.read().decode())


@contextmanager
def dashboard(storage: str) -> Iterator[str]:
    """The address of optuna-dashboard on a storage, served on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    process = subprocess.Popen(
        [program, storage, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        assert process.poll() is None, "optuna-dashboard has ended"
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.skipif(
    importlib.util.find_spec("optuna_dashboard") is None,
    reason="optuna-dashboard is not installed (pip install 'augean[dashboard]')",
)
def test_optuna_dashboard_shows_the_study_and_its_notes_do_not_disturb_it(
    storage: str, tmp_path: Path
) -> None:
    arguments = [*STUDY, f"hydra.sweeper.storage={storage}", f"runtime.outputs={tmp_path}/out"]
    done = run(*arguments, "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    study = load(storage)
    with dashboard(storage) as address:
        assert "<title>Optuna Dashboard</title>" in request(f"{address}/dashboard")
        (summary,) = json.loads(request(f"{address}/api/studies"))["study_summaries"]
        assert summary["study_name"] == study.study_name
        place = f"{address}/api/studies/{summary['study_id']}"
        shown = json.loads(request(place))
        assert shown["directions"] == ["maximize"]
        assert [trial["values"][0] for trial in shown["trials"]] == [
            trial.value for trial in study.trials
        ]
        assert [len(trial["intermediate_values"]) for trial in shown["trials"]] == [2, 2]
        began = time.monotonic()
        request(f"{place}/note", {"body": "looked at", "version": 1})
        assert (
            time.monotonic() - began < 25
        )  # Optuna breaks a lock that it does not get within 30 s
        done = run(*arguments, "hydra.sweeper.n_trials=3")
        assert done.returncode == 0, done.stderr
        shown = json.loads(request(place))
        assert (len(shown["trials"]), shown["note"]["body"]) == (3, "looked at")
    assert_exact(storage, tmp_path / "out", 3)
