"""Hand the missing runs of a sweep to SLURM as a job array, and ask SLURM which are queued.

No process stays alive. An element of the array carries its run's config, skips what is finished
meanwhile and resumes from the run's checkpoint, so SLURM may cancel, requeue or repeat it at any
time. What is queued is SLURM's own answer; a file for each array says which element is which run.
Should that be lost, the runs' locks still keep work from being done twice.
"""

import importlib.util
import json
import logging
import math
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from augean.config.schema import Config, LauncherConfig, RuntimeConfig
from augean.errors import AugeanError, ConfigError, SetupError
from augean.regular_files import NOTE_BYTES, parse_json, read_regular
from augean.runs.address import find_address
from augean.runs.code_snapshot import use_snapshot
from augean.runs.execute import execute
from augean.signals import CANCEL, TIME_LIMIT_NEAR, handle_signals, ignore_signal
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked
from augean.store.sweep_record import SweepRecord
from augean.store.values import WrongValueError, as_texts
from augean.terminal import show_messages

logger = logging.getLogger(__name__)

MAX_ARRAY = 1000
"""Elements of one array; SLURM's own default limit (MaxArraySize) is 1001."""
NOTICE_SECONDS = 60
"""A job gets its signal this long, plus the grace time, before its time limit."""
COMPLETING = "COMPLETING"
"""SLURM's state of a job that has just ended; it may still be requeued."""
SETTLE_SECONDS = 30
"""Longest wait until such a job has either ended or returned to the queue."""


@dataclass(frozen=True)
class ArrayElement:
    """What one element of an array does, on whatever node and at whatever start."""

    work: Callable[[], object]
    folder: str
    """Where the sweep was submitted: paths of the config are relative to it."""
    launcher: LauncherConfig

    def __call__(self) -> None:
        """Work, and go back into the queue where the time limit is near.

        Raises:
            SystemExit: 128 + signal number after a signal, with the run's checkpoint written.
        """
        os.chdir(self.folder)
        os.environ["OMP_NUM_THREADS"] = str(self.launcher.cpus)
        # These handlers are for the time before and after training, such as imports. A run, or a
        # study's worker, installs its own, which end in a SystemExit.
        handle_signals({TIME_LIMIT_NEAR: self._leave, CANCEL: self._leave})
        try:
            self.work()
        except SystemExit as stop:
            self._requeue(stop.code)
            raise

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        """End the process without an exception, which a callback of an import could swallow."""
        self._requeue(128 + number)
        os._exit(128 + number)

    def _requeue(self, code: object) -> None:
        # Only the signal for the time limit needs this. SIGTERM comes from SLURM itself, which then
        # cancels the job or requeues it.
        starts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if code == 128 + TIME_LIMIT_NEAR and starts < self.launcher.max_requeues:
            ignore_signal(CANCEL)  # the requeue sends it, and this process must end by itself
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)


def train_run(config: Config, run_id: str, code: str | None = None) -> None:
    """Skip, resume or train the run that was submitted.

    Args:
        code: folder of the copy of its own code, see `augean.runs.code_snapshot`.

    Raises:
        ConfigError: when its data, or one of its `code_files`, have changed since, for then it is
            another run.
    """
    show_messages()
    use_snapshot(code)
    current = find_address(config).id
    if current != run_id:
        raise ConfigError(
            f"run {run_id} is {current} by now: its code or data have changed. Submit the sweep"
            " again"
        )
    execute(config)


@dataclass(frozen=True)
class Pack:
    """Several runs in one job, one after the other."""

    work: Mapping[str, Callable[[], object]]
    """The work of each run, by the run's id."""
    outputs: Path

    def __call__(self) -> None:
        """Train the runs; one that another process trains is waited for only in the end.

        Raises:
            SetupError: where no other run can do better.
            SystemExit: with status 1 when a run failed, after all others.
        """
        remaining = dict(self.work)
        has_failed = False
        while remaining:
            # First the runs that nobody holds; a run that is held is waited for by its own work.
            free = [key for key in remaining if not is_locked(self.outputs, key)]
            key = free[0] if free else next(iter(remaining))
            try:
                remaining.pop(key)()
            except SetupError:
                raise
            except Exception:  # the other runs of the job are not to suffer
                logger.exception(f"run {key} failed")
                has_failed = True
        if has_failed:
            raise SystemExit(1)


def pack_work(
    work: Mapping[str, Callable[[], object]], runtime: RuntimeConfig
) -> dict[str, Callable[[], object]]:
    """Put `runtime.launcher.runs_per_job` runs into one job.

    Args:
        work: of each run, by the run's id.

    Returns:
        What each job does, by the ids of its runs with commas between them.
    """
    size = runtime.launcher.runs_per_job
    if size == 1:
        return dict(work)
    keys = list(work)
    packs: dict[str, Callable[[], object]] = {}
    for start in range(0, len(keys), size):
        part = {key: work[key] for key in keys[start : start + size]}
        packs[",".join(part)] = Pack(work=part, outputs=Path(runtime.outputs).absolute())
    return packs


@dataclass(frozen=True)
class Queue:
    """The part of a folder's work that is in SLURM's queue."""

    states: dict[str, str] = field(default_factory=dict)
    """SLURM's state, such as PENDING, by what names the work: a run's id, or a study's worker."""
    problems: list[str] = field(default_factory=list)
    """A message for each array whose file is damaged, so that its elements are not known."""


def queued(outputs: Path) -> Queue:
    """Ask SLURM for everything in its queue that was submitted for this folder.

    Raises:
        AugeanError: when SLURM does not answer.
    """
    keys, problems = _read_arrays(outputs)
    if not keys:
        return Queue(problems=problems)
    # Keys are "<array>_<element>"; one call asks for all elements of all arrays.
    arrays = ",".join(sorted({job.split("_")[0] for job in keys}))
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={arrays}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AugeanError(f"SLURM cannot be asked what is queued: {error}") from error
    # For a single id that SLURM has forgotten it reports an error, for several it does not.
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise AugeanError(f"SLURM cannot be asked what is queued: {answer.stderr.strip()}")
    states: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        job, state = line.split()
        # One job may train several runs.
        for key in keys.get(job, "").split(","):
            if key:
                states[key] = state
    return Queue(states, problems)


def _read_arrays(outputs: Path) -> tuple[dict[str, str], list[str]]:
    """Read which element of which array does what.

    Returns:
        What names the work of each element, by the number of the element's job; and a message for
        each file that is damaged.
    """
    keys: dict[str, str] = {}
    problems = []
    for path in sorted((outputs / "slurm").glob("*.json")):
        try:
            elements = as_texts(parse_json(read_regular(path, NOTE_BYTES)))
            if not all(re.fullmatch(r"[0-9]+(_[0-9]+)?", job) for job in elements):
                raise ValueError("its keys must be numbers of SLURM's jobs")
            keys |= elements
        except (OSError, ValueError, WrongValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(
                f"{path}: damaged ({reason}), so that nothing is known of SLURM's array"
                f" {path.stem}; remove the file when that array has ended"
            )
    return keys, problems


def describe_queue(record: SweepRecord, states: Mapping[str, str]) -> str:
    """Return how much of a sweep is in SLURM's queue, such as `2 pending, 1 running`; empty for
    nothing.

    Args:
        states: as in `Queue`.
    """
    ids = {job.id for job in record.jobs}
    counts: Counter[str] = Counter()
    for key, state in states.items():
        if key in ids or key.startswith(f"{record.name} worker "):
            counts[state] += 1
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items()))


def submit(
    name: str,
    runtime: RuntimeConfig,
    work: Mapping[str, Callable[[], object]],
    *,
    may_pack: bool,
    is_completed: Callable[[str], bool],
    write_record: Callable[[], None],
) -> int:
    """Submit what is not queued yet, and say what became of it.

    What SLURM refuses leaves nothing behind. Where the file of an earlier array is damaged, its
    runs may be submitted once more: the runs' locks keep them from being trained twice.

    Args:
        name: of the sweep's record.
        work: what each element does, by a run's id or by the name of one of a study's workers.
        may_pack: whether these are runs, of which one element may do several.
        is_completed: returns whether the work of such a key is completed.
        write_record: called once SLURM has taken the first array, or has nothing to take.

    Returns:
        The exit status: 2 where the file of an earlier array is damaged, else 0.

    Raises:
        AugeanError: when SLURM or submitit is not there, or SLURM refuses.
    """
    check_submission(runtime)
    outputs = Path(runtime.outputs)
    arrays = []
    # Under a lock, so that of two submissions at one time the second sees the array of the first.
    with hold_lock(outputs, "submit", wait=True):
        queue = _settled_queue(outputs)
        waiting = {key for key, state in queue.states.items() if state != COMPLETING}
        # The order matters: an element that ends between these questions has ended by the last one,
        # so it is never taken for missing. Only runs have locks by these keys, workers have none.
        absent = [key for key in work if key not in waiting and not is_locked(outputs, key)]
        missing = [key for key in absent if not is_completed(key)]
        for start in range(0, len(missing), MAX_ARRAY):
            part = {key: work[key] for key in missing[start : start + MAX_ARRAY]}
            jobs = pack_work(part, runtime) if may_pack else part
            arrays.append(_submit_array(name, runtime, jobs))
            # Not before the first array: where SLURM refuses, there is to be no record.
            if len(arrays) == 1:
                write_record()
    if not arrays:
        write_record()
    submitted = "nothing to submit"
    if arrays:
        submitted = f"{len(missing)} submitted as SLURM array {', '.join(arrays)}"
    num_others = len(work) - len(missing)
    _log_submission(name, outputs, f"{submitted}, {num_others} queued or running already")
    for problem in queue.problems:
        logger.warning(problem)
    return 2 if queue.problems else 0


def _log_submission(name: str, outputs: Path, counts: str) -> None:
    """Log what was submitted, and how the user follows it from here."""
    logger.info(f"Sweep {name}: {counts}.")
    logger.info(
        f"  how it stands: augean status; logs: {outputs / 'slurm'}; what is cancelled or fails:"
        " submit again"
    )


def check_submission(runtime: RuntimeConfig) -> None:
    """Refuse what cannot be submitted from here, before anything is written.

    Raises:
        AugeanError: when SLURM or submitit is not there, or for a part of a GPU.
    """
    if importlib.util.find_spec("submitit") is None:
        raise SetupError("launcher=slurm needs submitit: pip install 'augean[slurm]'")
    if shutil.which("sbatch") is None:
        raise SetupError(
            "launcher=slurm: there is no sbatch on this machine; submit on a login node of the"
            " cluster"
        )
    if runtime.launcher.gpus % 1:
        raise ConfigError(
            f"runtime.launcher.gpus={runtime.launcher.gpus}: SLURM gives whole ones; only Ray"
            " divides them"
        )


def _settled_queue(outputs: Path) -> Queue:
    """Return what is queued, once no job is completing; SLURM may requeue a completing job."""
    queue = queued(outputs)
    for _ in range(SETTLE_SECONDS - 1):
        if COMPLETING not in queue.states.values():
            break
        time.sleep(1)
        queue = queued(outputs)
    return queue


def _submit_array(
    name: str, runtime: RuntimeConfig, work: Mapping[str, Callable[[], object]]
) -> str:
    """Submit one array, and write which element does what; return the array's number."""
    import submitit

    launcher = runtime.launcher
    # submitit writes each element as a pickled file, and the logs, into this folder.
    folder = Path(runtime.outputs).absolute() / "slurm"
    elements = [ArrayElement(item, str(Path.cwd()), launcher) for item in work.values()]
    files_before = set(folder.glob("*"))
    try:
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(**_sbatch_options(name, runtime, len(elements)))
        jobs = executor.submit_array(elements)
    except (OSError, RuntimeError, ValueError) as error:
        _remove_submission(folder, files_before)
        raise AugeanError(f"SLURM did not take the sweep: {error}") from error
    # The file says which element does what; SLURM itself knows only numbers.
    array = str(jobs[0].job_id).split("_")[0]
    keys = {job.job_id: key for job, key in zip(jobs, work, strict=True)}
    write_atomic(folder / f"{array}.json", json.dumps(keys))
    return array


def _remove_submission(folder: Path, files_before: set[Path]) -> None:
    """Remove what submitit has written for an array that SLURM refused: scripts and elements.

    Logs, which elements of other arrays may write meanwhile, stay.
    """
    for path in set(folder.glob("*")) - files_before:
        if re.fullmatch(r"(\.submission_file_)?[0-9a-f]{32}\.(sh|pkl)", path.name):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        folder.rmdir()


def _sbatch_options(name: str, runtime: RuntimeConfig, num_elements: int) -> dict[str, Any]:
    """Return the options of an array as submitit calls them."""
    launcher = runtime.launcher
    notice_seconds = math.ceil(runtime.grace_seconds) + NOTICE_SECONDS
    # Names are submitit's; None leaves an option to the cluster's own default.
    options = {
        "job_name": f"augean-{name}",
        "time": launcher.minutes,
        "cpus_per_task": launcher.cpus,
        "gpus_per_node": int(launcher.gpus) or None,
        "mem": f"{launcher.memory_gb:g}G" if launcher.memory_gb else None,
        "partition": launcher.partition,
        "account": launcher.account,
        # Elements that run at one time; submitit's own default is 256.
        "array_parallelism": launcher.max_parallel or num_elements,
        "stderr_to_stdout": True,
        "additional_parameters": {
            "signal": f"USR1@{notice_seconds}",
            "requeue": True,
            **launcher.parameters,
        },
    }
    return {key: value for key, value in options.items() if value is not None}
