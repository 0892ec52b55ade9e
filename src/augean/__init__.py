"""Augean: ablation sweeps of image classifiers, from Hydra configs to tables with intervals."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):
    sys.exit("Augean needs Python 3.11 or newer, this is " + sys.version.split()[0])
