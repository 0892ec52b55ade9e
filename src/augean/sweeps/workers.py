"""Run several processes of one sweep's command on this machine."""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from augean.config.paths import places
from augean.config.schema import RuntimeConfig
from augean.cores import usable_cores
from augean.errors import AugeanError, SetupError
from augean.passwords import find_passwords, without_passwords
from augean.regular_files import NOTE_BYTES, parse_json, read_regular
from augean.runs.code_snapshot import use_snapshot
from augean.signals import ChildProcesses
from augean.store.crew_size import announce_crew
from augean.store.files import write_atomic
from augean.terminal import counted

logger = logging.getLogger(__name__)

MAX_RESTARTS = 100
"""Killed workers that one sweep replaces before it gives up."""
POLL_SECONDS = 0.2
"""Wait before looking again which workers have ended."""
WORKER = "AUGEAN_WORKER"
"""Environment variable that makes a process a worker of a sweep; its value is when the sweep
began."""
SUPERVISOR = "AUGEAN_SUPERVISOR"
"""Environment variable of a worker: the process that started it."""
PLACES = "AUGEAN_PLACES"
"""Environment variable of a worker: the sweep's folders, as JSON."""
PLAN = "AUGEAN_PLAN"
"""Environment variable of a grid's worker: `SweepPlan.runs_digest` of the process that started
it."""
OTHER_PLAN = 76
"""Exit status of a worker whose own plan has other runs."""
QUIET = "runtime.progress=none"
"""What a supervisor adds to the command of its workers, whose bars would overwrite each other."""


def orphaned() -> bool:
    """Return whether this is a worker whose supervisor was killed.

    It should end: nobody can stop it, and the same command given again starts other workers.
    """
    # A process whose parent dies gets another parent.
    parent = str(os.getppid())
    return os.environ.get(SUPERVISOR, parent) != parent


def handed_on_places() -> dict[str, str | None]:
    """Return the folders of the sweep that this process is a worker of; empty elsewhere."""
    content: dict[str, str | None] = json.loads(os.environ.get(PLACES, "{}"))
    return content


def supervise(
    name: str,
    num_workers: int,
    runtime: RuntimeConfig,
    *,
    since: float,
    plan_digest: str | None = None,
) -> None:
    """Run `num_workers` processes of this command until all have ended.

    A worker that is killed is replaced; one that leaves after SIGTERM, or for another plan, is not.
    A stop signal is passed on to all of them. `augean workers` can change their number meanwhile.

    Args:
        name: of the sweep's record.
        since: when the sweep began, in seconds since 1970.
        plan_digest: of a grid's plan, which the workers compare with their own.

    Raises:
        SystemExit: 128 + signal number after a stop signal, when all workers have ended.
    """
    outputs = Path(runtime.outputs)
    with ChildProcesses() as children, announce_crew(outputs, name, num_workers) as read_size:
        crew = _Crew(name, children, runtime, since, plan_digest)
        size = read_size()
        crew.resize(size.workers)
        while crew.is_at_work():
            time.sleep(POLL_SECONDS)
            # Those that were killed are replaced before it is asked whether all have ended: all may
            # be killed at once.
            crew.account_for_the_ended()
            newest = read_size()
            if newest.request != size.request and children.signal is None:
                size = newest
                logger.info(f"{counted(size.workers, 'worker')} from now on")
                crew.resize(size.workers)
    if children.signal is not None:
        raise SystemExit(128 + children.signal)


class _Crew:
    """The workers of one sweep that this process has started, by their numbers."""

    def __init__(
        self,
        name: str,
        children: ChildProcesses,
        runtime: RuntimeConfig,
        since: float,
        plan_digest: str | None,
    ) -> None:
        self.name = name
        self.children = children
        self.runtime = runtime
        self.since = since
        self.plan_digest = plan_digest
        self.has_warned_of_plan = False
        self.command = [*program(sys.argv), *sys.argv[1:], QUIET]
        self.devices = _cuda_devices() if runtime.device in ("auto", "cuda") else []
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        """Those that are at work."""
        # They end at their next checkpoint, and are waited for until then.
        self.leaving: list[subprocess.Popen[bytes]] = []
        self.num_workers = 0
        self.num_restarts = 0

    def is_at_work(self) -> bool:
        """Return whether a worker is at work, or on its way out."""
        return bool(self.workers or self.leaving)

    def resize(self, num_workers: int) -> None:
        """Start workers, or tell the last ones to leave, so that so many are at work."""
        # Workers with the highest numbers leave; new ones take the lowest free numbers.
        self.num_workers = num_workers
        for number in sorted(self.workers)[num_workers:]:
            worker = self.workers.pop(number)
            worker.terminate()
            self.leaving.append(worker)
        number = 0
        while len(self.workers) < num_workers and self.children.signal is None:
            if number not in self.workers:
                self._start(number)
            number += 1

    def account_for_the_ended(self) -> None:
        """Replace the workers that were killed; forget those that have ended otherwise."""
        self.leaving = [worker for worker in self.leaving if worker.poll() is None]
        for number, worker in list(self.workers.items()):
            code = worker.poll()
            if code is None:
                continue
            del self.workers[number]
            may_restart = self.children.signal is None and self.num_restarts < MAX_RESTARTS
            if _was_told_to_leave(code):
                if self.children.signal is None:
                    logger.info(f"worker {number} was told to leave; {len(self.workers)} go on")
            elif code == OTHER_PLAN:
                self._warn_of_other_plan()
            elif code < 0 and may_restart:
                self.num_restarts += 1
                logger.warning(f"worker {number} was killed by signal {-code}; starting another")
                self._start(number)
            elif code < 0 and self.children.signal is None:
                logger.warning(
                    f"worker {number} was killed by signal {-code}; {MAX_RESTARTS} were replaced"
                    " already, so this one is not"
                )

    def _warn_of_other_plan(self) -> None:
        """Say once why workers have ended: all of them may have the same reason."""
        if self.has_warned_of_plan:
            return
        self.has_warned_of_plan = True
        logger.warning(
            f"{self.name}: asks for other runs than when the sweep began, as its file, its code or"
            " its data has changed; a worker has ended. Start the command again"
        )

    def _start(self, number: int) -> None:
        environment = self._environment(number)
        self.workers[number] = self.children.start(self.command, env=environment)

    def _environment(self, number: int) -> dict[str, str]:
        """Return the environment of a worker: its share of the cores, and a CUDA device in turn."""
        threads = self.runtime.threads or max(1, usable_cores() // self.num_workers)
        environment = _environment(self.since, self.runtime)
        environment["OMP_NUM_THREADS"] = str(threads)
        if self.plan_digest is not None:
            environment[PLAN] = self.plan_digest
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[number % len(self.devices)]
        return environment


def _was_told_to_leave(code: int) -> bool:
    """Return whether the exit status of a worker is that of SIGTERM."""
    # Between runs the signal kills it, which Popen shows as -n. Within a run the worker writes a
    # checkpoint first, and exits with 128 + n.
    return code in (-signal.SIGTERM, 128 + signal.SIGTERM)


def _environment(since: float, runtime: RuntimeConfig) -> dict[str, str]:
    return {
        **os.environ,
        WORKER: str(since),
        SUPERVISOR: str(os.getpid()),
        PLACES: json.dumps(places(runtime)),
    }


def _cuda_devices() -> list[str]:
    """List the CUDA devices that this process may use.

    Without torch, whose import would cost the supervisor 1.6 s and a CUDA context.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device]
    num_devices = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return [str(index) for index in range(num_devices)]


def keep_passwords(arguments: Sequence[str], file: Path) -> Path | None:
    """Write a command with passwords into a file that no other user can read.

    Args:
        arguments: `sys.argv` of the command.
        file: for this command alone.

    Returns:
        The file's absolute path, for `run_worker`; None where the command holds no password.

    Raises:
        AugeanError: when the file cannot be written.
    """
    if not any(find_passwords(word) for word in arguments):
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"cannot make {file.parent} ({error.strerror})") from error
    write_atomic(file, json.dumps(list(arguments)), private=True)
    return file.absolute()


def _read_command(file: Path) -> list[str]:
    try:
        words = parse_json(read_regular(file, NOTE_BYTES))
        if not isinstance(words, list):
            raise ValueError("not a list of words")
        return [str(word) for word in words]
    except (OSError, ValueError) as error:
        raise SetupError(f"{file}: cannot be read ({error}); submit the study again") from error


def run_worker(
    arguments: Sequence[str],
    runtime: RuntimeConfig,
    since: float,
    snapshot: str | None = None,
    command_file: Path | None = None,
) -> None:
    """Run a command again as one of its own workers, in a process of its own, until it has ended.

    Args:
        arguments: `sys.argv` of the command.
        runtime: of the sweep.
        since: when the sweep began, in seconds since 1970.
        snapshot: folder of a copy of the user's own code, see `augean.runs.code_snapshot`.
        command_file: has the arguments with their passwords, see `keep_passwords`.

    Raises:
        SetupError: when that file is gone.
        SystemExit: with the worker's exit status, if that is not 0; 128 + signal number after a
            stop signal, which is passed on.
    """
    use_snapshot(snapshot)
    if command_file is not None:
        arguments = _read_command(command_file)
    command = [*program(arguments), *arguments[1:]]
    with ChildProcesses() as children:
        code = children.start(command, env=_environment(since, runtime)).wait()
    if children.signal is not None:
        raise SystemExit(128 + children.signal)
    # `Popen` gives -n for a process that signal n has killed; a shell's status for it is 128 + n.
    if code < 0:
        raise SystemExit(128 - code)
    if code:
        raise SystemExit(code)


def program(arguments: Sequence[str]) -> list[str]:
    """Return the words that start Augean's training command.

    Args:
        arguments: `sys.argv` of a process that runs it.
    """
    if arguments[0].endswith("train.py"):
        return [sys.executable, arguments[0]]
    return [sys.executable, "-m", "augean", "train"]


def command_line() -> str:
    """Return the command that launched this sweep, as a person would type it again."""
    start = "python train.py" if sys.argv[0].endswith("train.py") else "augean train"
    words = sys.argv[1:]
    # A worker writes its study's record with the command that a person has typed.
    if SUPERVISOR in os.environ and words[-1:] == [QUIET]:
        words = words[:-1]
    # The URL of a database may hold a password. The record keeps this command, a report prints it.
    words = [without_passwords(word) for word in words]
    return f"{start} {shlex.join(words)}"
