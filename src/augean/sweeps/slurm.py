"""Hand the missing runs of a sweep to SLURM as a job array, and ask SLURM which are queued.

No process stays alive. An element of the array carries its run's config, skips what is finished
meanwhile and resumes from the run's checkpoint, so SLURM may cancel, requeue or repeat it at any
time. What is queued is SLURM's own answer; a file for each array says which element is which run.
Should that be lost, the runs' locks still keep work from being done twice.
"""

import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from augean.config.schema import Config, LauncherConfig, RuntimeConfig
from augean.errors import AugeanError, ConfigError, SetupError
from augean.runs.address import find_address
from augean.runs.execute import execute
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked
from augean.store.sweep_record import SweepRecord
from augean.sweeps.workers import WORKER

MAX_ARRAY = 1000
"""Elements of one array; SLURM's own default limit (MaxArraySize) is 1001."""
NOTICE_SECONDS = 60
"""Beyond the grace time, how long before the time limit a job is told to leave."""
COMPLETING, SETTLE_SECONDS = "COMPLETING", 30
"""What SLURM calls a job that has just ended, and how long to wait for what becomes of it: it may
be requeued."""


@dataclass(frozen=True)
class ArrayElement:
    """What one element of an array does, on whatever node and at whatever start."""

    work: Callable[[], object]
    folder: str
    """Where the sweep was submitted: paths of the config are relative to it."""
    launcher: LauncherConfig

    def __call__(self) -> None:
        """Work, and go back into the queue where the time limit is near.

        After SIGTERM there is nothing to do: SLURM sends it to a job that it cancels, or requeues
        by itself.

        Raises:
            SystemExit: 128 + signal number after a signal, with the run's checkpoint written.
        """
        os.chdir(self.folder)
        os.environ["OMP_NUM_THREADS"] = str(self.launcher.cpus)
        for number in (
            signal.SIGUSR1,
            signal.SIGTERM,
        ):  # while a run trains, it has handlers of its own
            signal.signal(number, self._leave)
        try:
            self.work()
        except SystemExit as stop:
            self._requeue(stop.code)
            raise

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        """End at once: an exception would be lost in a callback, such as imports have, and the work
        go on.
        """
        self._requeue(128 + number)
        os._exit(128 + number)

    def _requeue(self, code: object) -> None:
        starts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if code == 128 + signal.SIGUSR1 and starts < self.launcher.max_requeues:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which the requeue sends
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)


def train_run(config: Config, identity: str) -> None:
    """Skip, resume or train the run that was submitted.

    Raises:
        ConfigError: when its code or data have changed since, for then it is another run.
    """
    found = find_address(config).id
    if found != identity:
        raise ConfigError(
            f"run {identity} is {found} by now: its code or data have changed. Submit the sweep"
            " again"
        )
    execute(config)


def work_on_study(arguments: Sequence[str], since: float) -> None:
    """Be one of a study's workers: the same command, which takes trials until the study has all of
    its own.

    Args:
        since: when the study was submitted, in seconds of the epoch.
    """
    from augean.hydra_main import main

    os.environ[WORKER] = str(since)
    sys.argv = list(arguments)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def queued(outputs: Path) -> dict[str, str]:
    """Key and SLURM's state (PENDING, RUNNING, ...) of everything in its queue that was submitted
    for this folder.

    Raises:
        AugeanError: when SLURM does not answer.
    """
    keys: dict[str, str] = {}
    for path in sorted((outputs / "slurm").glob("*.json")):
        keys |= json.loads(path.read_text())
    if not keys:
        return {}
    arrays = ",".join(sorted({job.split("_")[0] for job in keys}))
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={arrays}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AugeanError(f"SLURM cannot be asked what is queued: {error}") from error
    # An error for a single id that SLURM has forgotten; none for several.
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise AugeanError(f"SLURM cannot be asked what is queued: {done.stderr.strip()}")
    states = dict(line.split() for line in done.stdout.splitlines())
    return {keys[job]: state for job, state in states.items() if job in keys}


def describe_queue(record: SweepRecord, known: Mapping[str, str]) -> str:
    """How much of a sweep is in SLURM's queue, such as `2 pending, 1 running`; empty for
    nothing.
    """
    ids = {job.id for job in record.jobs}
    own = Counter(
        state
        for key, state in known.items()
        if key in ids or key.startswith(f"{record.name} worker ")
    )
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(own.items()))


def submit(name: str, runtime: RuntimeConfig, work: Mapping[str, Callable[[], object]]) -> None:
    """Submit what is not queued yet, each by its key: a run's id, or what names one of a study's
    workers.

    Raises:
        AugeanError: when SLURM or submitit is not there, or SLURM refuses.
    """
    if importlib.util.find_spec("submitit") is None:
        raise SetupError("launcher=slurm needs submitit: pip install 'augean[slurm]'")
    if shutil.which("sbatch") is None:
        raise SetupError(
            "launcher=slurm: there is no sbatch on this machine; submit on a login node of the"
            " cluster"
        )
    outputs, arrays = Path(runtime.outputs), []
    with hold_lock(outputs, "submit", wait=True):  # so that two at one time know of each other's
        for _ in range(SETTLE_SECONDS):
            known = queued(outputs)
            if COMPLETING not in known.values():
                break
            time.sleep(1)
        going = {key for key, state in known.items() if state != COMPLETING}
        missing = [key for key in work if key not in going and not is_locked(outputs, key)]
        for start in range(0, len(missing), MAX_ARRAY):
            part = {key: work[key] for key in missing[start : start + MAX_ARRAY]}
            arrays.append(_submit_array(name, runtime, part))
    done = (
        f"{len(missing)} submitted as SLURM array {', '.join(arrays)}"
        if arrays
        else "nothing to submit"
    )
    print(f"Sweep {name}: {done}, {len(work) - len(missing)} queued or running already.")
    print(
        f"  how it stands: augean status; logs: {outputs / 'slurm'}; what is cancelled or fails:"
        " submit again"
    )


def _submit_array(
    name: str, runtime: RuntimeConfig, work: Mapping[str, Callable[[], object]]
) -> str:
    import submitit

    launcher, folder = runtime.launcher, Path(runtime.outputs).absolute() / "slurm"
    if launcher.gpus % 1:
        raise ConfigError(
            f"runtime.launcher.gpus={launcher.gpus}: SLURM gives whole ones; only Ray divides them"
        )
    options = {
        "job_name": f"augean-{name}",
        "time": launcher.minutes,
        "cpus_per_task": launcher.cpus,
        "gpus_per_node": int(launcher.gpus) or None,
        "mem": f"{launcher.memory_gb:g}G" if launcher.memory_gb else None,
        "partition": launcher.partition,
        "account": launcher.account,
        "array_parallelism": launcher.max_parallel or len(work),
        "stderr_to_stdout": True,
        "additional_parameters": {
            "signal": f"USR1@{math.ceil(runtime.grace_seconds) + NOTICE_SECONDS}",
            "requeue": True,
            **launcher.parameters,
        },
    }
    try:
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(
            **{key: value for key, value in options.items() if value is not None}
        )
        jobs = executor.submit_array(
            [ArrayElement(each, str(Path.cwd()), launcher) for each in work.values()]
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise AugeanError(f"SLURM did not take the sweep: {error}") from error
    array = str(jobs[0].job_id).split("_")[0]
    write_atomic(
        folder / f"{array}.json",
        json.dumps({job.job_id: key for job, key in zip(jobs, work, strict=True)}),
    )
    return array
