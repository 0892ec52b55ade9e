"""Fixtures: composed configs of tiny real runs."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes run side by side

import copy
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augean.config.compose import compose, register
from augean.config.schema import Config

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


class FailuresAtOnce:
    """Prints each failure when it happens: a run that is cut short has no summary at its end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the name and the traceback of a test that failed."""
        if report.failed:
            self.terminal.ensure_newline()
            self.terminal.write_sep("_", f"{report.nodeid} ({report.when})", red=True)
            self.terminal.write_line(report.longreprtext)


def pytest_configure(config: pytest.Config) -> None:
    """Print failures at once, in the one process that owns the terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(config, "workerinput")
    if terminal is not None and not is_worker:
        config.pluginmanager.register(FailuresAtOnce(terminal))


composed = functools.cache(lambda *overrides: compose(overrides))
"""Composing costs as much as a tiny run, and the runs of a test often differ in their places
alone."""


def replace_everywhere(
    patch: pytest.MonkeyPatch, function: Callable[..., Any], stand_in: Callable[..., Any]
) -> None:
    """Let every module of Augean that has imported `function` call `stand_in` instead."""
    for name, module in list(sys.modules.items()):
        if name.startswith("augean") and getattr(module, function.__name__, None) is function:
            patch.setattr(module, function.__name__, stand_in)


class KilledError(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def train_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[Config, int], None]:
    """Train a run and end as if killed after the given epoch."""

    def train(config: Config, last: int) -> None:
        from augean.runs.execute import execute
        from augean.training.progress import ProgressDisplay
        from augean.training.results import EpochResult

        show = ProgressDisplay.show

        def die(self: ProgressDisplay, result: EpochResult) -> None:
            show(self, result)
            if result.epoch == last:
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(ProgressDisplay, "show", die)
            with pytest.raises(KilledError):
                execute(config)

    return train


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """Compose a tiny run below tmp_path; further overrides win."""

    def make(*overrides: str) -> Config:
        places = {"runtime.outputs": f"{tmp_path}/outputs", "runtime.data": f"{tmp_path}/data"}
        places |= {
            key: value
            for key, _, value in (item.partition("=") for item in overrides)
            if key in places
        }
        config = copy.deepcopy(
            composed(*TINY, *(item for item in overrides if item.partition("=")[0] not in places))
        )
        config.runtime.outputs, config.runtime.data = (
            places["runtime.outputs"],
            places["runtime.data"],
        )
        return config

    return make
