"""Augean: ablation sweeps of image classifiers, from Hydra configs to tables with intervals."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):
    sys.exit("Augean needs Python 3.11 or newer, this is " + sys.version.split()[0])

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augean.own_loop import run

__all__ = ["run"]


def __getattr__(name):  # type: ignore[no-untyped-def]  # annotations are nothing that an old Python can read
    """`augean.run`, for training loops of one's own, loaded when it is asked for."""
    if name != "run":
        raise AttributeError("module 'augean' has no attribute " + repr(name))
    from augean.own_loop import run

    return run
