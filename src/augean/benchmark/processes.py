"""Run loops in processes of their own, one or several at once."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from augean.benchmark.entry import LoopResult
from augean.errors import AugeanError


def command_of(loop: str) -> list[str]:
    """Return the command of a loop.

    Raises:
        AugeanError: for a loop whose script is missing: an installed package has only `core`.
    """
    if loop == "core":
        return [sys.executable, "-m", "augean.benchmark.core_loop"]
    script = Path(__file__).parents[3] / "benchmarks" / f"{loop}_loop.py"
    if not script.is_file():
        raise AugeanError(
            f"--loops {loop}: {script} is not there; it comes with a checkout. Use --loops core"
        )
    return [sys.executable, str(script)]


def run_loop(
    loop: str, overrides: Sequence[str], images: int, epochs: int, at_once: int = 1
) -> LoopResult:
    """Run one process of a loop, or several at once. These begin their second epoch together.

    Args:
        images: of one epoch.
        epochs: of one process, at least 2.
        at_once: number of processes that train at the same time.

    Raises:
        AugeanError: when a process failed.
    """
    task = {
        "overrides": list(overrides),
        "images": images,
        "epochs": epochs,
        # The clock starts before Python does, so that imports count.
        "started": time.time(),
        "waits": at_once > 1,
    }
    command = [*command_of(loop), json.dumps(task)]
    results = [_read_result(text) for text in _run_together(loop, command, at_once)]
    return combine(results) if at_once > 1 else results[0]


def _run_together(loop: str, command: Sequence[str], at_once: int) -> list[str]:
    """Run a command several times at once and return what each process printed."""
    with ExitStack() as stack:
        processes = []
        for _ in range(at_once):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(stack.enter_context(process))
        if at_once > 1:
            # Each process prints a line after its first epoch, then waits for the end of its
            # standard input.
            for process in processes:
                process.stdout.readline()  # type: ignore[union-attr]
        # The end of its standard input starts the second epoch of each; a single one does not wait.
        for process in processes:
            process.stdin.close()  # type: ignore[union-attr]
        texts = [process.stdout.read() for process in processes]  # type: ignore[union-attr]
    for process in processes:
        code = process.wait()
        if code:
            raise AugeanError(f"the {loop} loop ended with exit code {code}; its message is above")
    return texts


def _read_result(text: str) -> LoopResult:
    """Read what `Entry.print_result` printed last."""
    # Libraries may have printed lines before.
    return LoopResult(**json.loads(text.splitlines()[-1]))


def combine(results: Sequence[LoopResult]) -> LoopResult:
    """Return the result of processes that ran at once, as if they were one.

    Times are those of the slowest process; memory is the sum. All epochs after the first get the
    same time: the mean of the process whose epochs are slowest.
    """
    # The first epoch is not steady: while it runs, other processes still start.
    num_steady = len(results[0].epoch_seconds) - 1
    steady_seconds = max(sum(result.epoch_seconds[1:]) for result in results) / num_steady
    first_seconds = max(result.epoch_seconds[0] for result in results)
    return LoopResult(
        first_step_seconds=max(result.first_step_seconds for result in results),
        epoch_seconds=[first_seconds, *[steady_seconds] * num_steady],
        wall_seconds=max(result.wall_seconds for result in results),
        peak_memory_mb=sum(result.peak_memory_mb for result in results),
    )
