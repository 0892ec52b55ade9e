"""TensorBoard and Weights & Biases: they get the numbers, and can neither fail a run nor hold it
up.
"""

import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from augean.config.schema import Config
from augean.errors import ConfigError, SetupError
from augean.runs.address import find_address
from augean.runs.execute import execute
from waiting import wait_for

Make = Callable[..., Config]


class Broken:
    """A logger that fails at a chosen place."""

    def __init__(self, where: str) -> None:
        self.where, self.rows = where, list[int]()
        self.wait = threading.Event()

    def make(self, path: Path, config: Mapping[str, Any], first_epoch: int) -> "Broken":
        self.call("start")
        return self

    def call(self, where: str) -> None:
        if where == self.where:
            raise RuntimeError(f"no {where} today")
        if self.where == f"hang in {where}":
            self.wait.wait()

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self.call("log")
        self.rows.append(epoch)

    def close(self) -> None:
        self.call("close")


@pytest.mark.parametrize(
    "where", ["start", "log", "close", "hang in start", "hang in log", "hang in close"]
)
def test_a_failing_or_hanging_logger_never_fails_a_run_nor_another_logger(
    where: str, tiny: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Broken(where), Broken("nowhere")
    monkeypatch.setattr(
        "augean.training.loggers.LOGGERS", {"wandb": broken.make, "tensorboard": sound.make}
    )
    monkeypatch.setattr("augean.training.loggers.CLOSE_SECONDS", 0.2 if "hang" in where else 30.0)
    outcome = execute(tiny("runtime.loggers=[wandb,tensorboard]"))
    broken.wait.set()
    assert outcome.summary.status == "finished"
    assert sound.rows == [1, 2, 3, 3]  # the last with the test score
    message = (
        "wandb: not done after 0.2 s; left alone"
        if "hang" in where
        else f"wandb: failed (RuntimeError: no {where}"
    )
    assert message in caplog.text


def test_a_missing_package_is_told_with_its_install_line_before_any_work(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = tiny("runtime.loggers=[tensorboard]")
    with pytest.raises(
        SetupError,
        match=r"tensorboard: not installed; install it with: pip install 'augean\[tensorboard\]'",
    ):
        execute(config)
    assert not find_address(config).path.exists()


def test_an_unknown_logger_is_refused_with_the_choices(tiny: Make) -> None:
    with pytest.raises(
        ConfigError, match=r"runtime\.loggers=\[mlflow\]: must be one of tensorboard, wandb"
    ):
        tiny("runtime.loggers=[mlflow]")


def test_loggers_are_no_part_of_the_address(tiny: Make) -> None:
    assert find_address(tiny("runtime.loggers=[tensorboard,wandb]")) == find_address(tiny())


@pytest.mark.filterwarnings("default")  # theirs are not ours to mend
def test_tensorboard_gets_every_epoch_and_a_resumed_run_each_once(
    tiny: Make, train_until: Callable[[Config, int], None]
) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny("runtime.loggers=[tensorboard]", "trainer.epochs=4")
    train_until(config, 2)
    outcome = execute(config)
    folder = outcome.address.outputs / "tensorboard" / outcome.address.path.name
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("val_accuracy")] == [1, 2, 3, 4]
    (score,) = events.Scalars("test_accuracy")
    assert score.value == pytest.approx(outcome.summary.test_accuracy)


@pytest.mark.filterwarnings("default")
def test_wandb_works_offline_and_without_a_network(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("the extra wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv(
        "WANDB_BASE_URL", "http://127.0.0.1:9"
    )  # where nobody answers, should it ask
    monkeypatch.setattr("augean.training.loggers.CLOSE_SECONDS", 120.0)
    outcome = execute(tiny("runtime.loggers=[wandb]"))
    assert "wandb:" not in capsys.readouterr().err
    (folder,) = (outcome.address.outputs / "wandb").glob("offline-run-*")
    (log,) = folder.glob("*.wandb")
    wait_for(
        lambda: b"test_accuracy" in log.read_bytes()
    )  # its service writes after finish() has returned
    assert outcome.address.id.encode() in log.read_bytes()
