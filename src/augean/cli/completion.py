"""Complete overrides in a shell with argcomplete."""

import os
import subprocess
import sys


def complete_overrides(prefix: str, **_: object) -> list[str]:
    """Return Hydra's own completions of a word after `augean train`."""
    # Hydra answers in a process of its own, as it does for the shell's own completion.
    command = [sys.executable, "-m", "augean", "train", "-sc", "query=bash"]
    environment = dict(os.environ)
    for name in os.environ:
        # With these set, the command would answer argcomplete instead of Hydra's question.
        if name.startswith("_ARGCOMPLETE"):
            del environment[name]
    environment["COMP_LINE"] = f"augean {prefix}"
    completed = subprocess.run(command, env=environment, capture_output=True, text=True)
    return completed.stdout.split()
