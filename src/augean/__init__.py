"""Augean: ablation sweeps of image classifiers, from Hydra configs to tables with intervals."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augean.own_loop import run

__all__ = ["run"]
__version__ = "0.1.0"

if sys.version_info < (3, 11):
    sys.exit("Augean needs Python 3.11 or newer, this is " + sys.version.split()[0])


def __getattr__(name: str) -> Any:
    """`augean.run`, for training loops of one's own, loaded when it is asked for."""
    if name != "run":
        raise AttributeError(f"module 'augean' has no attribute {name!r}")
    from augean.own_loop import run

    return run
