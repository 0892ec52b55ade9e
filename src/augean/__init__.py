"""Augean: ablation sweeps of image classifiers, from Hydra configs to tables with intervals."""

import sys

# Before anything else is imported: the rest cannot even be parsed by an older Python.
if sys.version_info < (3, 11):
    sys.exit("Augean needs Python 3.11 or newer, this is " + sys.version.split()[0])

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augean.config.compose import compose
    from augean.runs.custom_loop import run

__all__ = ["compose", "run"]


def __getattr__(name):  # type: ignore[no-untyped-def]  # an old Python cannot read annotations
    """Load `augean.run` and `augean.compose` when they are first used.

    Both import much, and a command such as `augean status` needs neither.
    """
    if name == "run":
        from augean.runs.custom_loop import run

        return run
    if name == "compose":
        from augean.config.compose import compose

        return compose
    if name == "__version__":
        from augean.version import version

        return version()
    raise AttributeError("module 'augean' has no attribute " + repr(name))
