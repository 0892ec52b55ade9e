"""Count the cores that this process may use."""

import os


def usable_cores() -> int:
    """Return how many cores this process may use: taskset, a cpuset or SLURM may allow it few.

    Where the system cannot tell, as on macOS, it is all cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
