"""Run several processes of one sweep's command on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from augean.config.schema import RuntimeConfig

MAX_RESTARTS = 100
"""Killed workers that one sweep replaces before it gives up."""
WORKER = "AUGEAN_WORKER"
"""Environment variable that makes a process a worker of a sweep; its value is when the sweep
began."""
SUPERVISOR = "AUGEAN_SUPERVISOR"
"""Environment variable of a worker: the process that started it."""


def orphaned() -> bool:
    """Whether this is a worker whose supervisor was killed: nobody could stop it, and the command
    starts others.
    """
    return os.environ.get(SUPERVISOR, str(os.getppid())) != str(os.getppid())


def supervise(num_workers: int, runtime: RuntimeConfig, *, since: float) -> None:
    """Run `num_workers` processes of this command until all have ended; one that is killed is
    replaced.

    Each gets its share of the cores and, in turn, one of the CUDA devices. A stop signal is passed
    on to them.

    Raises:
        SystemExit: 128 + signal number after a stop signal, when all workers have ended.
    """
    threads = runtime.threads or max(1, (os.cpu_count() or 1) // num_workers)
    devices = os.environ.get(
        "CUDA_VISIBLE_DEVICES", ",".join(str(index) for index in range(count_nvidia_devices()))
    )
    dealt = [device for device in devices.split(",") if device]
    stopped: list[int] = []

    def start(index: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            WORKER: str(since),
            SUPERVISOR: str(os.getpid()),
            "OMP_NUM_THREADS": str(threads),
        }
        if dealt and runtime.device in ("auto", "cuda"):
            environment["CUDA_VISIBLE_DEVICES"] = dealt[index % len(dealt)]
        # A group of its own, so that a terminal's Ctrl-C reaches the worker once: through us.
        command = [*program(), *sys.argv[1:], "runtime.progress=none"]
        return subprocess.Popen(command, env=environment, process_group=0)

    def pass_on(number: int, _frame: Any) -> None:
        stopped.append(number)
        for worker in workers.values():
            if worker.poll() is None:
                worker.send_signal(number)

    workers: dict[int, subprocess.Popen[bytes]] = {}
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, pass_on) for number in handled}
    try:
        for index in range(num_workers):
            if not stopped:
                workers[index] = start(index)
        for number in stopped[
            -1:
        ]:  # a worker may have started between the signal and its being passed on
            pass_on(number, None)
        restarts = 0
        while any(worker.returncode is None for worker in workers.values()):
            time.sleep(0.2)
            # Those that were killed are replaced before it is asked whether all have ended: all may
            # be killed at once.
            for index, worker in workers.items():
                if (worker.poll() or 0) < 0 and not stopped and restarts < MAX_RESTARTS:
                    restarts += 1
                    print(
                        f"worker {index} was killed by signal {-worker.returncode}; starting"
                        " another",
                        file=sys.stderr,
                    )
                    workers[index] = start(index)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        raise SystemExit(128 + stopped[0])


def count_nvidia_devices() -> int:
    """Without importing torch, which would cost the supervisor 1.6 s and a CUDA context."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def program() -> list[str]:
    script = sys.argv[0].endswith("train.py")
    return [sys.executable, sys.argv[0]] if script else [sys.executable, "-m", "augean", "train"]
