"""Waiting for what another process or thread will do."""

import subprocess
import time
from collections.abc import Callable
from typing import Any


def wait_for(
    condition: Callable[[], Any],
    seconds: float = 120,
    *,
    process: "subprocess.Popen[str] | None" = None,
) -> Any:
    """What `condition` returns, once that is true; `process`, where given, must live until then."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.03)
    return result
