"""Bound how long a download by another library waits for its server."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT_SECONDS = 30.0
"""Longest wait for an answer of the server."""


@contextmanager
def download_timeout() -> Iterator[None]:
    """Let connections of the block fail when the server does not answer.

    torch and torchvision set no timeout; a firewall that drops packets would hold a run for
    minutes.
    """
    timeout_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout_before)
