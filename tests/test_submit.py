"""Sweeps on clusters: what is handed to SLURM in which state, on a real SLURM of one node, and Ray."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from augean import records
from conftest import ROOT, TINY

Environment = dict[str, str]
SLURM_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
NUM_CPUS = 2
SLURM_CONF = """
ClusterName=augean
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={num_cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)
    return result


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A SLURM of one node on the loopback device; the environment in which its commands find it."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [program for program in SLURM_PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        pytest.skip(f"SLURM is not installed: no {', '.join(missing)} (Debian: slurm-wlm, munge)")
    if os.geteuid() != 0:
        pytest.skip("slurmd runs jobs of other users, so it needs root")
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'augean[slurm]'")
    folder = tmp_path_factory.mktemp("slurm")
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(
        SLURM_CONF.format(host=host, folder=folder, controller_port=ports[0], node_port=ports[1], num_cpus=NUM_CPUS)
    )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))},
        "PATH": path,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PYTHONPATH": f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}",
    }
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    servers: list[subprocess.Popen[bytes]] = []
    commands = (
        ["munged", "-F", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge.socket", *files],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    )
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as output:
                program = str(shutil.which(command[0], path=path))
                servers.append(subprocess.Popen([program, *command[1:]], env=environment, stdout=output, stderr=output))
            if command[0] == "munged":
                wait_for((folder / "munge.socket").exists)
        wait_for(lambda: "idle" in ask(environment, "sinfo", "--noheader", "--format=%T"))
        yield environment
        ask(environment, "scancel", "--signal=KILL", "--full", "--user=root")
        ask(environment, "scancel", "--user=root")
        wait_for(lambda: not states(environment), 60)
    finally:
        for server in reversed(servers):
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def ask(environment: Environment, *command: str, seconds: float = 60) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds).stdout


def states(environment: Environment) -> dict[str, str]:
    """State of each job in the queue."""
    lines = ask(environment, "squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def augean(environment: Environment, *arguments: str) -> str:
    command = [sys.executable, "-m", "augean", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs_of(outputs: Path) -> dict[str, str]:
    """SLURM job to the key of what it does, over all arrays."""
    found: dict[str, str] = {}
    for path in (outputs / "slurm").glob("*.json"):
        found |= json.loads(path.read_text())
    return found


def epochs_shown(outputs: Path) -> dict[str, list[int]]:
    """The epochs that each run was trained, in the order of all its starts on SLURM."""
    shown: dict[str, list[int]] = {}
    for job, key in sorted(jobs_of(outputs).items()):
        log = outputs / "slurm" / f"{job}_0_log.out"
        if log.exists():
            shown.setdefault(key, []).extend(map(int, re.findall(r"^epoch +(\d+)/", log.read_text(), re.MULTILINE)))
    return shown


@pytest.mark.integration
def test_a_sweep_is_submitted_left_cancelled_requeued_and_nothing_is_lost_or_trained_twice(
    slurm: Environment, tmp_path: Path
) -> None:
    epochs = 25
    submission = (
        "submit", "table1_activation", "seed=0,1", "activation=relu,leaky_relu", "launcher=slurm", *TINY, f"trainer.epochs={epochs}",
        "runtime.progress=plain", f"runtime.outputs={tmp_path}", "runtime.launcher.cpus=1", "runtime.launcher.gpus=0",
    )  # fmt: skip
    assert "4 submitted as SLURM array" in augean(slurm, *submission)
    assert len(states(slurm)) == 4
    assert "nothing to submit, 4 queued or running already" in augean(slurm, *submission)
    assert len(states(slurm)) == 4

    keys = jobs_of(tmp_path)
    running = wait_for(lambda: [job for job, state in states(slurm).items() if state == "RUNNING"][:2])
    wait_for(lambda: all(len(epochs_shown(tmp_path).get(keys[job], [])) > 1 for job in running))
    assert "in SLURM's queue: 2 pending, 2 running" in augean(slurm, "status", "--outputs", str(tmp_path))
    pending = [job for job, state in states(slurm).items() if state == "PENDING"]
    # One that runs is requeued by hand, the other is told that its time is nearly over; one that waits is cancelled.
    ask(slurm, "scontrol", "requeue", running[0])
    # scancel tries again until the job, which is back in the queue at once, can be altered.
    with suppress(subprocess.TimeoutExpired):
        ask(slurm, "scancel", "--signal=USR1", running[1], seconds=3)
    ask(slurm, "scancel", pending[0])
    assert "1 submitted as SLURM array" in (said := augean(slurm, *submission)), said
    assert "3 queued or running already" in said
    assert Counter(jobs_of(tmp_path)[job] for job in states(slurm)) == Counter(keys.values())
    for job in running:  # SLURM lets a requeued job wait for two minutes
        ask(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now")

    # One that runs is cancelled at a moment of its own, and asked for again.
    running = wait_for(lambda: [job for job, state in states(slurm).items() if state == "RUNNING"])
    wait_for(lambda: len(epochs_shown(tmp_path).get(jobs_of(tmp_path)[running[0]], [])) > 1)
    ask(slurm, "scancel", running[0])
    wait_for(lambda: running[0] not in states(slurm))
    assert "1 submitted as SLURM array" in augean(slurm, *submission)

    wait_for(lambda: not states(slurm), 240)
    assert "4 finished" in augean(slurm, *submission)
    (record,), _ = records.read_all(tmp_path)
    assert record.states(tmp_path) == Counter(finished=4)
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert epochs_shown(tmp_path) == {job.id: list(range(1, epochs + 1)) for job in record.jobs}
    resumes = [json.loads(path.read_text())["num_resumes"] for path in (tmp_path / "runs").glob("*/summary.json")]
    assert sum(resumes) == 3


@pytest.mark.integration
def test_a_study_on_slurm_is_an_array_of_workers_that_share_its_trials(slurm: Environment, tmp_path: Path) -> None:
    submission = (
        "train", "-m", "optimizer.lr=tag(log,interval(0.01,0.1))", "hydra.sweeper.n_trials=4",
        "hydra.sweeper.final_seeds=1", *[item for item in TINY if not item.startswith("optimizer.lr")],
        "trainer.epochs=2", "launcher=slurm", f"runtime.outputs={tmp_path}", "runtime.workers=2",
        "runtime.launcher.cpus=1", "runtime.launcher.gpus=0",
    )  # fmt: skip
    assert "2 submitted as SLURM array" in augean(slurm, *submission)
    assert "nothing to submit" in augean(slurm, *submission)
    wait_for(lambda: not states(slurm), 240)
    (record,), _ = records.read_all(tmp_path)
    assert Counter(job.state for job in record.trials) == Counter(complete=4)
    assert record.winner
    assert record.states(tmp_path) == Counter(finished=1)
    assert "1 finished" in augean(slurm, *submission)
    assert not states(slurm)


@pytest.mark.integration
def test_what_slurm_refuses_is_one_message(slurm: Environment, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "augean", "submit", "table1_activation", *TINY, "runtime.launcher.gpus=0"]
    command += [f"runtime.outputs={tmp_path}", "runtime.launcher.partition=nowhere"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not jobs_of(tmp_path)
