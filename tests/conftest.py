"""Fixtures: composed configs of tiny real runs."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes run side by side

from collections.abc import Callable
from pathlib import Path

import pytest

from augean.config import Config
from augean.train import compose, register

ROOT = Path(__file__).parents[1]
TINY = (
    "dataset=synthetic",
    "dataset.image_size=16",
    "dataset.num_val=40",
    "dataset.arguments.num_train_images=200",
    "dataset.arguments.num_test_images=60",
    "dataset.arguments.num_classes=4",
    "width.channels=4",
    "trainer.epochs=3",
    "trainer.batch_size=32",
    "trainer.precision=fp32",
    "optimizer.lr=0.05",
    "runtime.progress=none",
    "runtime.checkpoint_seconds=0",
)
"""A run of less than a second: 160 training images, 5 steps an epoch."""

register()


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """Compose a tiny run below tmp_path; further overrides win."""

    def make(*overrides: str) -> Config:
        return compose([*TINY, f"runtime.outputs={tmp_path}/outputs", f"runtime.data={tmp_path}/data", *overrides])

    return make
