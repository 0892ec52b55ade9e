"""Where a run comes from: the commit of the code, the versions of the libraries, the machine."""

import subprocess
from functools import lru_cache
from pathlib import Path


@lru_cache
def git_commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
