"""Run several processes of one sweep's command on this machine."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from augean.config.paths import places
from augean.config.schema import RuntimeConfig
from augean.passwords import without_passwords
from augean.signals import ChildProcesses

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


def supervise(num_workers: int, runtime: RuntimeConfig, *, since: float) -> None:
    """Run `num_workers` processes of this command until all have ended; one that is killed is
    replaced.

    Each gets its share of the cores and, in turn, one of the CUDA devices. A stop signal is passed
    on to them.

    Args:
        since: when the sweep began, in seconds of the epoch.

    Raises:
        SystemExit: 128 + signal number after a stop signal, when all workers have ended.
    """
    command = [*program(sys.argv), *sys.argv[1:], "runtime.progress=none"]
    environments = _worker_environments(num_workers, runtime, since)
    num_restarts = 0
    with ChildProcesses() as children:
        workers = []
        for environment in environments:
            if children.signal is None:
                workers.append(children.start(command, env=environment))
        while any(worker.returncode is None for worker in workers):
            time.sleep(POLL_SECONDS)
            # Those that were killed are replaced before it is asked whether all have ended: all may
            # be killed at once.
            for index, worker in enumerate(workers):
                code = worker.poll()
                was_killed = code is not None and code < 0
                may_restart = children.signal is None and num_restarts < MAX_RESTARTS
                if code is not None and was_killed and may_restart:
                    num_restarts += 1
                    logger.warning(f"worker {index} was killed by signal {-code}; starting another")
                    workers[index] = children.start(command, env=environments[index])
    if children.signal is not None:
        raise SystemExit(128 + children.signal)


def _worker_environments(
    num_workers: int, runtime: RuntimeConfig, since: float
) -> list[dict[str, str]]:
    """Return the environment of each worker: cores are shared, CUDA devices dealt out."""
    num_cores = os.cpu_count() or 1
    threads = runtime.threads or max(1, num_cores // num_workers)
    shared = _environment(since, runtime) | {"OMP_NUM_THREADS": str(threads)}
    environments = []
    devices = _cuda_devices() if runtime.device in ("auto", "cuda") else []
    for index in range(num_workers):
        environment = dict(shared)
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        environments.append(environment)
    return environments


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


def run_worker(arguments: Sequence[str], runtime: RuntimeConfig, since: float) -> None:
    """Run a command again as one of its own workers, in a process of its own, until it has ended.

    Args:
        arguments: `sys.argv` of the command.
        runtime: of the sweep.
        since: when the sweep began, in seconds of the epoch.

    Raises:
        SystemExit: with the worker's exit status, if that is not 0; 128 + signal number after a
            stop signal, which is passed on.
    """
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
    # The URL of a database may hold a password. The record keeps this command, a report prints it.
    words = [without_passwords(word) for word in sys.argv[1:]]
    return f"{start} {shlex.join(words)}"
