"""Where a run comes from: when, how often resumed, with which code and which libraries."""

import platform
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from augean.version import version


def timestamp() -> str:
    """Return the present time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class History:
    """What all sessions of a run have in common; a checkpoint carries it to the next session."""

    started: str = field(default_factory=timestamp)
    seconds: float = 0.0
    """Wall time of all sessions so far: training, evaluation and checkpoints."""
    num_resumes: int = 0


def library_versions() -> dict[str, str]:
    """Return the versions that every run records."""
    return {"augean": version(), "python": platform.python_version()}


@lru_cache
def git_commit() -> str | None:
    """Return the commit of Augean's code; None outside a repository."""
    # Installed, this file may lie in the repository of another project, which does not track it.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    # With "-dirty" where a tracked file was edited. Tags are excluded, so that it is a hash always.
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    """Return what git prints in the folder of this file; None where it fails."""
    try:
        process = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None
