"""Augean: ablation sweeps of image classifiers, from Hydra configs to tables with intervals."""

__version__ = "0.1.0"
