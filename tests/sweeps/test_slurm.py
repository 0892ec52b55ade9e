"""Sweeps on clusters: what is handed to SLURM in which state, on a real SLURM of one node, and
Ray.
"""

import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from augean.config.schema import Config, LauncherConfig
from augean.errors import AugeanError, ConfigError
from augean.runs.address import find_address
from augean.store.sweep_record import read_records
from augean.sweeps.slurm import ArrayElement, queued, submit, train_run
from augean.training.progress import ProgressDisplay
from augean.training.results import EpochResult
from commands import augean as augean_here
from conftest import ROOT, TINY
from waiting import wait_for

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

ONE_SLURM = pytest.mark.xdist_group("slurm")
"""Tests that one process runs, as two SLURMs would think that each has the machine for itself."""

RAY_CLUSTER = """
import os, subprocess, sys, time
import ray
from ray.cluster_utils import Cluster

head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
cluster.add_node(num_cpus=2, num_gpus=1)
os.chdir(sys.argv[1])
cluster.connect()
environment = {**os.environ, "RAY_ADDRESS": cluster.address}
command = subprocess.Popen(sys.argv[2:], env=environment)
free = set()
while command.poll() is None:
    free.add(ray.available_resources().get("GPU", 0.0))
    time.sleep(0.1)
print("GPUs free:", *sorted(free))
ray.shutdown()
cluster.shutdown()
sys.exit(command.returncode)
"""
"""Runs a command beside a cluster of two nodes, the second of which is said to have a GPU; ends
with what of it was free at any time."""


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
        SLURM_CONF.format(
            host=host,
            folder=folder,
            controller_port=ports[0],
            node_port=ports[1],
            num_cpus=NUM_CPUS,
        )
    )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SLURM_", "SBATCH_"))
        },
        "PATH": path,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PYTHONPATH": f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}",
    }
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    servers: list[subprocess.Popen[bytes]] = []
    commands = (
        [
            "munged",
            "-F",
            "--force",
            f"--key-file={folder}/key",
            f"--socket={folder}/munge.socket",
            *files,
        ],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    )
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as output:
                program = str(shutil.which(command[0], path=path))
                servers.append(
                    subprocess.Popen(
                        [program, *command[1:]], env=environment, stdout=output, stderr=output
                    )
                )
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
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds
    ).stdout


def states(environment: Environment) -> dict[str, str]:
    """State of each job in the queue."""
    lines = ask(environment, "squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def augean(environment: Environment, *arguments: str) -> str:
    command = [sys.executable, "-m", "augean", *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=180, cwd=ROOT
    )
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
            shown.setdefault(key, []).extend(
                map(int, re.findall(r"^epoch +(\d+)/", log.read_text(), re.MULTILINE))
            )
    return shown


@pytest.mark.integration
@ONE_SLURM
def test_a_sweep_submitted_cancelled_and_requeued_loses_and_repeats_nothing(
    slurm: Environment, tmp_path: Path
) -> None:
    epochs = 100
    submission = (
        "submit", "table1_activation", "seed=0,1", "activation=relu,leaky_relu", *TINY,
        f"trainer.epochs={epochs}", "runtime.progress=plain", f"runtime.outputs={tmp_path}",
        "runtime.launcher.cpus=1", "runtime.launcher.gpus=0",
    )  # fmt: skip
    # Nothing starts, and so nothing has ended, before it is asked for again.
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=DOWN")
    assert "4 submitted as SLURM array" in augean(slurm, *submission)
    assert len(states(slurm)) == 4
    assert "nothing to submit, 4 queued or running already" in augean(slurm, *submission)
    assert len(states(slurm)) == 4
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=UP")

    keys = jobs_of(tmp_path)
    running = wait_for(
        lambda: [job for job, state in states(slurm).items() if state == "RUNNING"][:2]
    )
    wait_for(lambda: all(len(epochs_shown(tmp_path).get(keys[job], [])) > 1 for job in running))
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=DOWN")
    assert "in SLURM's queue: 2 pending, 2 running" in augean(
        slurm, "status", "--outputs", str(tmp_path)
    )
    pending = [job for job, state in states(slurm).items() if state == "PENDING"]
    # One that runs is requeued by hand, the other is told that its time is nearly over; one that
    # waits is cancelled.
    ask(slurm, "scontrol", "requeue", running[0])
    # scancel tries again until the job, which is back in the queue at once, can be altered.
    with suppress(subprocess.TimeoutExpired):
        ask(slurm, "scancel", "--signal=USR1", running[1], seconds=3)
    ask(slurm, "scancel", pending[0])
    assert "1 submitted as SLURM array" in (said := augean(slurm, *submission)), said
    assert "3 queued or running already" in said
    assert Counter(jobs_of(tmp_path)[job] for job in states(slurm)) == Counter(keys.values())
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=UP")
    for job in running:  # SLURM lets a requeued job wait for two minutes
        ask(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now")

    # One that runs is cancelled at a moment of its own, and asked for again.
    running = wait_for(lambda: [job for job, state in states(slurm).items() if state == "RUNNING"])
    wait_for(lambda: len(epochs_shown(tmp_path).get(jobs_of(tmp_path)[running[0]], [])) > 1)
    ask(slurm, "scancel", running[0])
    wait_for(lambda: running[0] not in states(slurm))
    # Another run may end between planning and the look at the queue; it is not submitted again.
    said = augean(slurm, *submission)
    assert "1 submitted as SLURM array" in said, said

    wait_for(lambda: not states(slurm), 240)
    assert "4 finished" in augean(slurm, *submission)
    (record,), _ = read_records(tmp_path)
    assert record.states(tmp_path) == Counter(finished=4)
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert epochs_shown(tmp_path) == {job.id: list(range(1, epochs + 1)) for job in record.jobs}
    resumes = [
        json.loads(path.read_text())["num_resumes"]
        for path in (tmp_path / "runs").glob("*/summary.json")
    ]
    assert sum(resumes) in (2, 3)  # what was cancelled last may not have begun to train again


@pytest.mark.integration
@ONE_SLURM
def test_a_study_on_slurm_is_an_array_of_workers_that_share_its_trials(
    slurm: Environment, tmp_path: Path
) -> None:
    submission = (
        "train", "-m", "optimizer.lr=tag(log,interval(0.01,0.1))", "hydra.sweeper.n_trials=4",
        "hydra.sweeper.final_seeds=1",
        *[item for item in TINY if not item.startswith("optimizer.lr")], "trainer.epochs=2",
        "launcher=slurm", f"runtime.outputs={tmp_path}", "runtime.workers=2",
        "runtime.launcher.cpus=1", "runtime.launcher.gpus=0",
    )  # fmt: skip
    ask(
        slurm, "scontrol", "update", "PartitionName=main", "State=DOWN"
    )  # nothing starts before it is asked for again
    assert "2 submitted as SLURM array" in augean(slurm, *submission)
    assert "nothing to submit" in augean(slurm, *submission)
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=UP")
    wait_for(lambda: not states(slurm), 240)
    (record,), _ = read_records(tmp_path)
    assert Counter(job.state for job in record.trials) == Counter(complete=4)
    assert record.winner
    assert record.states(tmp_path) == Counter(finished=1)
    assert "1 finished" in augean(slurm, *submission)
    assert not states(slurm)


@pytest.mark.integration
@ONE_SLURM
def test_what_slurm_refuses_is_one_message(slurm: Environment, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "augean",
        "submit",
        "table1_activation",
        *TINY,
        "runtime.launcher.gpus=0",
    ]
    command += [f"runtime.outputs={tmp_path}", "runtime.launcher.partition=nowhere"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not jobs_of(tmp_path)


@pytest.fixture
def element_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let this process be an array element's: its signal handlers, environment and folder are put
    back in the end.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("element_here")
@pytest.mark.parametrize("max_requeues", [5, 0])
def test_an_element_out_of_time_leaves_a_checkpoint_and_is_queued_again(
    tiny: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    max_requeues: int,
) -> None:
    config = tiny("trainer.epochs=4", "runtime.checkpoint_seconds=1000")
    launcher = LauncherConfig(name="slurm", max_requeues=max_requeues)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/requeued"\n')
    scontrol.chmod(0o755)
    element = ArrayElement(
        partial(train_run, config, find_address(config).id), str(tmp_path), launcher
    )
    submitted = cloudpickle.dumps(element)
    show = ProgressDisplay.show

    def show_and_signal(self: ProgressDisplay, result: EpochResult) -> None:
        show(self, result)
        if result.epoch == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressDisplay, "show", show_and_signal)
        with pytest.raises(SystemExit) as ended:
            cloudpickle.loads(submitted)()
    assert ended.value.code == 128 + signal.SIGUSR1
    requeued = tmp_path / "requeued"
    assert (requeued.read_text() if requeued.exists() else "") == (
        "requeue 7\n" if max_requeues else ""
    )
    path = find_address(config).path
    assert (path / "checkpoint.pt").exists()
    if not max_requeues:
        return
    cloudpickle.loads(submitted)()
    summary = json.loads((path / "summary.json").read_text())
    assert (summary["status"], summary["epochs"], summary["num_resumes"]) == ("finished", 4, 1)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_that_comes_within_an_import_is_not_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    # Python drops exceptions of such callbacks, which every import has.
    code = textwrap.dedent("""
        import os, sys, weakref
        from augean.config.schema import LauncherConfig
        from augean.sweeps.slurm import ArrayElement

        def work():
            value = {1}
            reference = weakref.ref(value, lambda _: os.kill(os.getpid(), int(sys.argv[1])))
            del value
            print("went on", flush=True)

        ArrayElement(work, os.getcwd(), LauncherConfig(name="slurm"))()
    """)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/requeued"\n')
    scontrol.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    command = [sys.executable, "-c", code, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 128 + number, done.stderr
    assert "went on" not in done.stdout
    assert (tmp_path / "requeued").exists() == (number == signal.SIGUSR1)


def test_an_element_whose_code_or_data_have_changed_refuses(tiny: Callable[..., Config]) -> None:
    config = tiny()
    with pytest.raises(
        ConfigError, match=r"0123456789 is .* by now: its code or data have changed"
    ):
        train_run(config, "0123456789")
    assert not find_address(config).path.exists()


def test_what_is_missing_here_is_named_with_its_remedy(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny("launcher=slurm")
    options: dict[str, Any] = {
        "may_pack": True,
        "is_completed": lambda _: False,
        "write_record": pytest.fail,
    }
    monkeypatch.setenv("PATH", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(AugeanError, match=r"pip install 'augean\[slurm\]'"):
            submit("table", config.runtime, {}, **options)
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'augean[slurm]'")
    work = {"0123456789": partial(train_run, config, "0123456789")}
    with pytest.raises(AugeanError, match="there is no sbatch on this machine"):
        submit("table", config.runtime, work, **options)


ANYTHING_GOES: dict[str, Any] = {
    "may_pack": False,
    "is_completed": lambda _: False,
    "write_record": lambda: None,
}
"""Arguments of `submit` for work of which nothing is done yet."""


@pytest.mark.parametrize(
    ("may_pack", "keys"),
    [(True, ["aaaaaaaaaa,bbbbbbbbbb", "cccccccccc"]), (False, None)],
    ids=["runs", "workers of a study"],
)
def test_only_runs_are_packed_into_one_job(
    may_pack: bool,
    keys: list[str] | None,
    tiny: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'augean[slurm]'")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho Submitted batch job 12\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    runtime = tiny("launcher=slurm", "runtime.launcher.runs_per_job=2").runtime
    # Ids that are made of letters alone, as a study's worker might be called too.
    work = {letter * 10: partial(str, letter) for letter in "abc"}
    assert submit("table", runtime, work, **{**ANYTHING_GOES, "may_pack": may_pack}) == 0
    elements = json.loads((Path(runtime.outputs) / "slurm" / "12.json").read_text())
    assert list(elements.values()) == (keys or list(work))


SBATCH_THAT_REFUSES = """#!/bin/sh
echo "sbatch: error: invalid partition specified: nowhere" >&2
exit 1
"""


@pytest.mark.parametrize("sbatch", [None, SBATCH_THAT_REFUSES], ids=["absent", "refuses"])
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "activation=relu,elu"],
        ["-m", "optimizer.momentum=interval(0.1,0.9)", "hydra.sweeper.n_trials=2"],
    ],
)
def test_a_refused_submission_leaves_neither_record_nor_study(
    words: list[str], sbatch: str | None, tmp_path: Path
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'augean[slurm]'")
    programs = tmp_path / "bin"
    programs.mkdir()
    if sbatch is not None:
        for name in ("sbatch", "srun"):
            (programs / name).write_text(sbatch)
            (programs / name).chmod(0o755)
    outputs = tmp_path / "outputs"
    command = [sys.executable, "-m", "augean", "submit", *words, *TINY]
    done = subprocess.run(
        [*command, f"runtime.outputs={outputs}"],
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
    )
    assert done.returncode == 1
    expected = "there is no sbatch on this machine" if sbatch is None else "partition specified"
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    # Locks are empty files that filelock leaves behind; .id names the folder.
    left = [path for path in outputs.rglob("*") if path.is_file() and path.parent.name != "locks"]
    assert [path.name for path in left if path.name != ".id"] == []
    assert sbatch is not None or not left


@pytest.mark.parametrize(
    "content",
    ["", '{"12_0": "0123', "[]", '{"12_0": 3}', '{"../x": "0123456789"}', "[" * 100_000, "\xff"],
)
def test_a_damaged_array_is_named_and_the_others_are_asked_for(
    tiny: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
) -> None:
    config = tiny("launcher=slurm")
    outputs = Path(config.runtime.outputs)
    (outputs / "slurm").mkdir(parents=True)
    (outputs / "slurm/12.json").write_text(content, encoding="latin-1")
    (outputs / "slurm/13.json").write_text('{"13_0": "0123456789"}')
    for name, text in {"sbatch": "exit 1", "squeue": "echo 13_0 PENDING"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    queue = queued(outputs)
    assert queue.states == {"0123456789": "PENDING"}
    (problem,) = queue.problems
    assert problem.startswith(f"{outputs / 'slurm/12.json'}: damaged (")
    done = augean_here("status", "--outputs", str(outputs))
    assert (done.returncode, problem in done.stderr) == (2, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(logging.getLogger("augean"), "propagate", True)
    with caplog.at_level(logging.INFO, "augean"):
        assert submit("table", config.runtime, {}, **ANYTHING_GOES) == 2
    assert problem in caplog.text


def test_launchers_are_for_sweeps_and_stay_outside_of_addresses(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    slurm, local = tiny("launcher=slurm", "runtime.launcher.minutes=5"), tiny()
    assert (slurm.runtime.launcher.name, slurm.runtime.launcher.gpus) == ("slurm", 1)
    assert find_address(slurm) == find_address(local)
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *TINY,
        "launcher=slurm",
        f"runtime.outputs={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 1
    assert "launcher=slurm: is for sweeps" in done.stderr
    for wrong in (
        "runtime.launcher.cpus=0",
        "runtime.launcher.gpus=-1",
        "runtime.launcher.name=pbs",
    ):
        with pytest.raises(ConfigError, match=wrong):
            tiny(wrong)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_its_launcher_names_what_to_install(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        "launcher=ray",
        *TINY,
        f"runtime.outputs={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 1
    assert "launcher=ray needs Ray and its Hydra launcher: pip install 'augean[ray]'" in done.stderr


@pytest.mark.integration
def test_a_grid_on_a_ray_cluster_of_two_nodes_shares_a_gpu_and_accounts_for_failures(
    tmp_path: Path,
) -> None:
    for package in ("ray", "hydra_plugins.hydra_ray_launcher"):
        pytest.importorskip(package, reason="Ray is not installed: pip install 'augean[ray]'")
    grid = [
        sys.executable, str(ROOT / "train.py"), "-m", "seed=0,1,2", "trainer.batch_size=32,159",
        "launcher=ray", "runtime.launcher.gpus=0.5", "runtime.device=cpu",
        *[item for item in TINY if not item.startswith("trainer.batch_size")], "trainer.epochs=5",
    ]  # fmt: skip
    command = [sys.executable, "-c", RAY_CLUSTER, str(tmp_path), *grid]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd="/")
    assert "3 finished, 0 diverged, 3 failed" in done.stdout, done.stdout + done.stderr
    assert "trainer.batch_size=159: the last batch of 160 training images has one" in done.stderr
    assert done.returncode == 1
    # A relative output folder is the launch's own; the nodes of this cluster have begun elsewhere.
    summaries = [
        json.loads(path.read_text())
        for path in (tmp_path / "outputs" / "runs").glob("*/summary.json")
    ]
    assert len(summaries) == 3
    (free,) = re.findall(r"^GPUs free: (.*)$", done.stdout, re.MULTILINE)
    assert set(free.split()) - {"0.0"} == {"0.5", "1.0"}


@pytest.mark.integration
@ONE_SLURM
def test_jobs_train_several_runs_with_the_code_of_the_submission(
    slurm: Environment, tmp_path: Path
) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "__init__.py").write_text("")
    (own / "act.py").write_text("import torch\n\n\nclass Own(torch.nn.ReLU):\n    pass\n")
    outputs = tmp_path / "outputs"
    command = [
        sys.executable, "-m", "augean", "train", "-m", "seed=range(0,5)", *TINY, "launcher=slurm",
        "activation=relu", "activation.name=own", "activation._target_=mine.act.Own",
        "runtime.allowed_packages=[mine]", f"runtime.outputs={outputs}",
        "runtime.launcher.cpus=1", "runtime.launcher.gpus=0", "runtime.launcher.runs_per_job=2",
    ]  # fmt: skip
    # They wait in the queue while the code is edited.
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=DOWN")
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, cwd=tmp_path)
    assert "5 submitted as SLURM array" in done.stdout, done.stdout + done.stderr
    assert len(states(slurm)) == 3
    (own / "act.py").write_text("raise RuntimeError('edited while the jobs wait')\n")
    ask(slurm, "scontrol", "update", "PartitionName=main", "State=UP")
    wait_for(lambda: not states(slurm), 400)
    (record,), _ = read_records(outputs)
    logs = "".join(path.read_text() for path in (outputs / "slurm").glob("*.out"))
    assert record.states(outputs) == Counter(finished=5), logs
