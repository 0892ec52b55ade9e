"""Loops of one's own as runs: skip, resume, stop, divergence, failure, table."""

import argparse
import dataclasses
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch

import augean
from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import AugeanError, ConfigError, RunLocked
from augean.report import make_report
from augean.runs.address import RunAddress, find_address
from augean.runs.custom_run import CustomRun
from augean.store.archive.packing import pack, unpack
from augean.store.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint, save_checkpoint
from augean.store.locks import hold_lock
from augean.store.run_directory import run_state
from augean.store.summary import Divergence, read_summary
from augean.store.sweep_record import read_record, read_records
from augean.training.artifacts import serialize
from conftest import ROOT, KilledError, composed
from fake_runs import write_record, write_run
from waiting import wait_for

CONFIG = {"name": "counter", "lr": 0.1, "seed": 0}


class Marked(torch.Tensor):
    """A tensor of a class that torch does not load."""


def count(
    outputs: Path, *, die_after: int = 0, config: Any = CONFIG, **options: Any
) -> tuple[CustomRun, list[int]]:
    """A loop whose weights depend on every epoch before: the smallest thing that can be resumed."""
    done: list[int] = []
    with augean.run(config, outputs=str(outputs), checkpoint_seconds=0, **options) as run:
        value = torch.zeros(1)
        if (state := run.load()) is not None:
            value = state["value"]
        for epoch in run.epochs(4):
            value = value * 2 + epoch
            run.log(train_loss=1 / value.item(), val_accuracy=0.1 * epoch)
            run.save({"value": value})
            done.append(epoch)
            if epoch == die_after:
                raise KilledError
        run.finish(test_accuracy=value.item() / 100, weights={"value": value})
    return run, done


def augean_address(config: Any, outputs: Path) -> RunAddress:
    """Where `count` would train."""
    with pytest.raises(KilledError), augean.run(config, outputs=str(outputs)) as run:
        raise KilledError
    shutil.rmtree(run.address.path)
    return run.address


def test_a_finished_loop_is_skipped_and_left_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, done = count(tmp_path)
    assert done == [1, 2, 3, 4]
    assert first.summary is not None
    assert first.summary.test_accuracy == pytest.approx(0.26)
    assert (first.summary.val_accuracy, first.summary.selected_epoch) == (
        pytest.approx(0.4),
        4,
    )
    assert {file.name for file in first.address.path.iterdir()} == {
        "config.yaml", "metrics.csv", "best.pt", "summary.json",
    }  # fmt: skip
    before = {file: file.stat().st_mtime_ns for file in first.address.path.iterdir()}
    again, done = count(tmp_path)
    assert done == []
    assert again.finished
    assert again.summary == first.summary
    assert {file: file.stat().st_mtime_ns for file in first.address.path.iterdir()} == before
    assert "is completed, not trained again" in capsys.readouterr().out


def test_an_interrupted_loop_goes_on_and_gives_what_an_unbroken_one_gives(tmp_path: Path) -> None:
    whole, _ = count(tmp_path / "whole")
    with pytest.raises(KilledError):
        count(tmp_path / "killed", die_after=2)
    path = tmp_path / "killed" / "runs" / whole.address.path.name
    assert run_state(tmp_path / "killed", path, whole.address.id) == "interrupted"
    resumed, done = count(tmp_path / "killed")
    assert done == [3, 4]
    assert resumed.summary is not None
    assert whole.summary is not None
    assert resumed.summary.test_accuracy == whole.summary.test_accuracy
    assert resumed.summary.num_resumes == 1
    metrics = [
        pandas.read_csv(run.address.path / "metrics.csv").drop(columns="seconds")
        for run in (whole, resumed)
    ]
    pandas.testing.assert_frame_equal(*metrics)
    assert not list(path.glob("*checkpoint*"))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        count(tmp_path, die_after=3)
    (file,) = tmp_path.glob(f"runs/*/{CHECKPOINT}")
    file.write_bytes(file.read_bytes()[:-9])
    run, done = count(tmp_path)
    assert done == [3, 4]
    assert run.summary is not None
    assert run.summary.test_accuracy == pytest.approx(0.26)


@pytest.mark.parametrize("kind", ["rubbish", "other run", "of an earlier release"])
def test_a_foreign_checkpoint_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    for outputs, config in (("here", CONFIG), ("there", {**CONFIG, "seed": 1})):
        with pytest.raises(KilledError):
            count(tmp_path / outputs, die_after=2, config=config)
    (here,), (other,) = tmp_path.glob("here/runs/*"), tmp_path.glob("there/runs/*")
    content = b"rubbish"
    if kind == "other run":
        content = (other / CHECKPOINT).read_bytes()
    elif kind == "of an earlier release":  # which wrote the numbers of NumPy as they are
        content = serialize({"state": numpy.float64(1)})
    save_checkpoint(here, content)  # with a digest that fits
    fault = "does not belong to this run"
    if kind == "of an earlier release":
        fault = "cannot be loaded"
    with pytest.raises(AugeanError, match=f"{here}: its checkpoint {fault}"):
        count(tmp_path / "here")
    for name in (CHECKPOINT, PREVIOUS):
        (here / name).unlink()
    assert count(tmp_path / "here")[1] == [1, 2, 3, 4]


def test_a_damaged_summary_is_not_believed_and_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, _ = count(tmp_path)
    file = first.address.path / "summary.json"
    file.write_text(file.read_text().replace("0.26", "0.96"))
    assert count(tmp_path)[1] == [1, 2, 3, 4]
    assert (
        f"{file}: was altered or damaged after it was written; the run is made again"
        in capfd.readouterr().err
    )


def train(outputs: Path, state: Callable[[int], Any], **options: Any) -> CustomRun:
    """A loop of two epochs that saves what `state` returns, and is then killed."""
    with augean.run(CONFIG, outputs=str(outputs), **options) as run:
        for epoch in run.epochs(2):
            run.log(train_loss=1.0)
            run.save(state(epoch))
        raise KilledError
    return run


def test_a_number_of_numpy_in_a_later_state_is_kept_as_pythons(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 1)
    best = [0.0, numpy.mean([0.5])]

    def state(epoch: int) -> Any:
        score = best[epoch - 1]
        return {"network": network.state_dict(), "best": score, "scores": {epoch: (score, 1)}}

    with pytest.raises(KilledError):
        train(tmp_path, state, checkpoint_seconds=0)
    with augean.run(CONFIG, outputs=str(tmp_path)) as run:
        loaded = run.load()
        assert (loaded["best"], loaded["scores"]) == (0.5, {2: (0.5, 1)})
        assert type(loaded["best"]) is float
        network.load_state_dict(loaded["network"])
        run.finish(test_accuracy=0.5)


def test_a_state_that_cannot_be_kept_is_refused_in_its_own_epoch(tmp_path: Path) -> None:
    saved = []

    def state(epoch: int) -> Any:
        saved.append(epoch)
        return {"value": 1 if epoch == 1 else tmp_path}

    with pytest.raises(AugeanError, match=r"state\['value'\]: of type PosixPath"):
        train(tmp_path, state)
    assert saved == [1, 2]


@pytest.mark.parametrize("epoch_of_stop", [2, 3])
def test_a_stop_keeps_the_last_saved_state_as_it_was(epoch_of_stop: int, tmp_path: Path) -> None:
    def stopped() -> None:
        value = torch.zeros(1)
        with augean.run(CONFIG, outputs=str(tmp_path)) as run:
            for epoch in run.epochs(4):
                if epoch == 3 == epoch_of_stop:  # Ctrl-C twice, which abandons the epoch
                    os.kill(os.getpid(), signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGINT)
                value += epoch
                run.log(train_loss=1.0)
                run.save({"value": value})
                value *= 10  # in place, after the save
                if epoch == 2 == epoch_of_stop:
                    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        stopped()
    with augean.run(CONFIG, outputs=str(tmp_path)) as run:
        assert run.load()["value"].item() == 12
        assert next(run.epochs(4)) == 3
        run.finish(test_accuracy=0.5)


SCRIPT = """
    import sys, time
    import torch, augean

    outputs, epochs = sys.argv[1], int(sys.argv[2])
    with augean.run({"seed": 0}, outputs=outputs, checkpoint_seconds=1e9, table="Stopped") as run:
        total = (run.load() or {"total": 0})["total"]
        for epoch in run.epochs(epochs):
            total += epoch
            time.sleep(0.2)
            run.log(train_loss=1.0)
            run.save({"total": total})
        run.finish(test_accuracy=total / 1000)
"""


def test_a_stop_signal_ends_after_the_epoch_with_a_checkpoint(tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), str(tmp_path / "outputs"), "10"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: list(tmp_path.glob("outputs/runs/*/metrics.csv")), process=process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Stopping after this epoch" in output
    (path,) = tmp_path.glob("outputs/runs/*")
    assert load_checkpoint(path)[0] is not None
    assert not (path / "failure.txt").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "goes on after epoch" in done.stdout
    summary = json.loads((path / "summary.json").read_text())
    assert summary["test_accuracy"] == 0.055
    assert summary["epochs"] == 10
    # An edit of the loop is another loop; a comment is not.
    short = [*command[:-1], "1"]
    for edit, runs in (("# a comment", 1), ("EDITED = 1", 2)):
        script.write_text(textwrap.dedent(SCRIPT) + edit + "\n")
        assert subprocess.run(short, capture_output=True, timeout=120).returncode == 0
        assert len(list(tmp_path.glob("outputs/runs/*"))) == runs
    # The table holds the newest run of a row and seed.
    record = read_record(tmp_path / "outputs" / "sweeps" / "Stopped.json")
    assert [job.row for job in record.jobs] == ["loop"]
    assert record.jobs[0].run != path.name


def test_asking_for_a_finished_loop_imports_no_torch(tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    code = """
        import augean, sys

        at_import = set(sys.modules)
        with augean.run({}, outputs=sys.argv[1]) as run:
            run.finish(test_accuracy=1)
        print("loaded by import:", sorted(at_import & {"omegaconf", "torch", "hydra"}))
        print("loaded by the run:", sorted(set(sys.modules) & {"torch", "hydra", "pandas"}))
    """
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, str(script), str(tmp_path / "outputs")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "loaded by import: []" in done.stdout, done.stderr
        assert "loaded by the run: []" in done.stdout


def test_a_loss_that_is_not_finite_is_a_result_and_ends_the_block(tmp_path: Path) -> None:
    with augean.run(CONFIG, outputs=str(tmp_path)) as run:
        run.log(train_loss=2.0, val_loss=3.0)
        run.log(train_loss=float("nan"))
        pytest.fail("the block goes on")
    assert run.summary is not None
    assert run.summary.status == "diverged"
    assert run.summary.diverged == Divergence(epoch=2, step=None, last_loss=2.0)
    assert run.summary.epochs == 1


def test_an_exception_is_accounted_for_and_a_new_try_clears_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), augean.run(CONFIG, outputs=str(tmp_path)) as run:
        run.log(train_loss=1 / 0)
    path = run.address.path
    assert run_state(tmp_path, path, run.address.id) == "failed"
    assert "ZeroDivisionError" in (path / "failure.txt").read_text()
    with (
        pytest.raises(AugeanError, match=r"without run\.finish"),
        augean.run(CONFIG, outputs=str(tmp_path)),
    ):
        pass
    with augean.run(CONFIG, outputs=str(tmp_path)) as run:
        run.finish(test_accuracy=0.5)
    assert not (path / "failure.txt").exists()


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_loop_that_raises_goes_on_from_its_last_save(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with augean.run(CONFIG, outputs=tmp_path, checkpoint_seconds=1e9) as run:
            for epoch in run.epochs(4):
                run.log(train_loss=1.0)
                if epoch == 3:
                    raise error
                run.save(epoch)

    with pytest.raises(error):
        fail()
    with augean.run(CONFIG, outputs=tmp_path) as run:
        assert run.load() == 2
        assert next(run.epochs(4)) == 3
        run.finish(test_accuracy=0.5)
    assert not list(run.address.path.glob("*checkpoint*"))


def save_and_fail(run: CustomRun, *, is_finished: bool = False) -> None:
    run.save(1)
    if is_finished:
        run.finish(test_accuracy=0.5)
    raise ZeroDivisionError


def test_a_state_that_cannot_be_written_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: Any) -> None:
        raise AugeanError("the disk is full")

    monkeypatch.setattr("augean.runs.loop_checkpoint.save_checkpoint", full_disk)
    with (
        pytest.raises(ZeroDivisionError),
        augean.run(CONFIG, outputs=tmp_path, checkpoint_seconds=1e9) as run,
    ):
        save_and_fail(run)
    assert "ZeroDivisionError" in (run.address.path / "failure.txt").read_text()


def test_a_finished_run_whose_block_raises_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), augean.run(CONFIG, outputs=tmp_path) as run:
        save_and_fail(run, is_finished=True)
    assert not list(run.address.path.glob("*checkpoint*"))


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    address = augean_address(CONFIG, tmp_path)
    with hold_lock(tmp_path, address.id, wait=False), pytest.raises(RunLocked):
        count(tmp_path, wait=False)
    assert run_state(tmp_path, address.path, address.id) == "missing"


def test_a_loop_that_changes_the_current_folder_writes_where_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with augean.run(CONFIG, outputs="outputs", checkpoint_seconds=0) as run:
        os.chdir("sub")
        for epoch in run.epochs(2):
            run.log(train_loss=1.0)
            run.save(epoch)
        run.finish(test_accuracy=0.5, weights={"value": torch.ones(1)})
    assert (tmp_path / "outputs" / "runs" / run.address.path.name / "best.pt").exists()
    assert list((tmp_path / "sub").iterdir()) == []
    assert f" finished: outputs/runs/{run.address.path.name}\n" in capsys.readouterr().out


def test_a_run_that_is_opened_in_its_own_block_is_refused_by_name(tmp_path: Path) -> None:
    def open_twice() -> None:
        with augean.run(CONFIG, outputs=tmp_path), augean.run(CONFIG, outputs=tmp_path):
            pass

    with pytest.raises(AugeanError, match=r"run [0-9a-f]{10} is already open in this process"):
        open_twice()


@dataclasses.dataclass
class Setting:
    lr: float = 0.1
    seed: int = 0
    name: str = "counter"


def test_equal_configs_are_one_run_however_they_are_written(tmp_path: Path) -> None:
    equal = [CONFIG, Setting(), {"seed": 0, "lr": 0.1, "name": "counter"}, {**CONFIG, "seed": 0.0}]
    assert len({augean_address(config, tmp_path) for config in equal}) == 1
    other = [CONFIG, {**CONFIG, "lr": 0.2}, {**CONFIG, "seed": 1}, {**CONFIG, "name": "other"}]
    assert len({augean_address(config, tmp_path) for config in other}) == 4


def test_an_augean_config_is_another_run_with_another_loop(tiny: Callable[..., Config]) -> None:
    config = tiny()
    with augean.run(config) as run:
        run.log(train_loss=1.0, val_accuracy=0.25)
        run.finish(test_accuracy=0.5)
    assert run.address.id != find_address(config).id
    assert run.address.path.name.startswith("synthetic-resnet18-leaky_relu-sgd-c4-s0-")
    assert run.summary is not None
    assert run.summary.config["optimizer.name"] == "sgd"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda run: run.log(val_acc=0.5),
            "val_acc: no such column; there are epoch, lr, train_loss",
        ),
        (lambda run: run.log(epoch=3), "epoch=3: the next epoch is 1"),
        (
            lambda run: run.log(val_accuracy=93.0),
            "val_accuracy=93.0: must be a fraction from 0 to 1",
        ),
        (
            lambda run: run.finish(test_accuracy=93.0),
            "test_accuracy=93.0: must be a fraction from 0 to 1",
        ),
        (
            lambda run: run.finish(test_accuracy=0.5, selected_epoch=3),
            "selected_epoch=3: 0 epochs logged",
        ),
        (
            lambda run: run.log() or run.finish(test_accuracy=0.5, selected_epoch=-1),
            "selected_epoch=-1: 1 epoch logged",
        ),
        (
            # As numpy.argmax counts.
            lambda run: (
                run.log(val_accuracy=0.5) or run.finish(test_accuracy=0.5, selected_epoch=0)
            ),
            "selected_epoch=0: 1 epoch logged, and epochs count from 1",
        ),
        (
            lambda run: run.save({"model": object()}),
            "state['model']: of type object; only tensors, numbers, text, bytes",
        ),
        (lambda run: run.save(lambda: 1), "run.save: state: of type function; only tensors"),
        (
            lambda run: run.save([torch.nn.Linear(1, 1)]),
            "state[0]: of type Linear: keep its state_dict()",
        ),
        (
            lambda run: run.save({"all": {"rng": numpy.ones(2)}}),
            "state['all']['rng']: a NumPy array: keep torch.from_numpy(...) of it",
        ),
        (
            lambda run: run.save({"best": 0.1}) or run.save({"classes": defaultdict(int, {1: 2})}),
            "state['classes']: of type defaultdict: keep dict(...) of it",
        ),
        (
            lambda run: run.save({"image": Marked(torch.ones(1))}),
            "state['image']: a tensor of the class Marked: keep its as_subclass(torch.Tensor)",
        ),
        (lambda run: next(iter([*run.epochs(2)])), "epoch 1 ended without run.log"),
    ],
)
def test_a_wrong_call_is_refused(
    call: Callable[[CustomRun], Any], message: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(AugeanError) as caught,
        augean.run(CONFIG, outputs=str(tmp_path), checkpoint_seconds=0) as run,
    ):
        call(run)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "config", [{"lr": float("nan")}, {"path": Path("x")}, 3, {"lr": torch.ones(1)}]
)
def test_a_config_without_plain_finite_values_is_refused(config: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plain finite values"):
        augean.run(config, outputs=str(tmp_path))


@pytest.mark.parametrize("seed", [0.2, "first", None, float("inf"), [1]])
def test_a_seed_that_is_not_a_whole_number_is_refused(seed: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed=.*: must be a whole number"):
        augean.run({"seed": seed}, outputs=str(tmp_path))


@pytest.mark.parametrize("table", [7, "", " "])
def test_a_table_is_named_by_text(table: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"table={table!r}: must be the title of a table"):
        augean.run(CONFIG, outputs=str(tmp_path), table=table)


def test_a_script_takes_no_row_of_another_one_and_says_that_it_replaces_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
        import augean

        def train(outputs):
            with augean.run({}, outputs=outputs, table="Shared", row="baseline") as run:
                run.finish(test_accuracy=SCORE)
            return run.address.id
    """

    def train(folder: str, score: float) -> str:
        script = tmp_path / folder / "main.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"SCORE = {score}\n{textwrap.dedent(code)}")
        run_id: str = runpy.run_path(str(script))["train"](tmp_path / "shared")
        return run_id

    def listed() -> list[str]:
        return [job.id for job in read_record(tmp_path / "shared/sweeps/Shared.json").jobs]

    old = train("first", 0.5)
    new = train("first", 0.75)
    assert listed() == [new]
    assert f"run {old} makes way for {new}" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=rf"is run {new} of {tmp_path}/first/main\.py"):
        train("second", 0.25)
    assert listed() == [new]
    # A script that was moved and then edited is still the one.
    (tmp_path / "first" / "main.py").unlink()
    moved = train("second", 0.25)
    assert listed() == [moved]


def test_a_script_keeps_its_row_beside_a_module_or_a_copy_of_its_name(tmp_path: Path) -> None:
    code = """
        import sys
        import augean
        import helpers.main

        config = {"lr": float(sys.argv[1])}
        with augean.run(config, outputs="../shared", table="Shared", row="baseline") as run:
            run.finish(test_accuracy=SCORE)
    """

    def train(folder: str, score: float, lr: float) -> None:
        module = tmp_path / folder / "helpers" / "main.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("")
        script = tmp_path / folder / "main.py"
        script.write_text(f"SCORE = {score}\n{textwrap.dedent(code)}")
        # A process of its own: one process does not replace its own runs.
        subprocess.run([sys.executable, script.name, str(lr)], cwd=script.parent, check=True)

    train("first", 0.5, lr=0.1)
    train("first", 0.75, lr=0.1)
    train("copy", 0.75, lr=0.2)
    (job,) = read_record(tmp_path / "shared/sweeps/Shared.json").jobs
    summary = read_summary(tmp_path / "shared/runs" / job.run)
    assert summary is not None
    assert summary.config["lr"] == 0.2


@pytest.mark.parametrize("config", [{**CONFIG, "lr": 0.5}, {**CONFIG, "training": {"seed": 1}}])
def test_a_second_run_of_one_row_and_seed_is_refused(config: Any, tmp_path: Path) -> None:
    first, _ = count(tmp_path, table="Rates")
    count(tmp_path, table="Rates")  # the same run once more
    count(tmp_path, table="Rates", config={**CONFIG, "seed": 1})
    known = f"row counter, seed 0 is already run {first.address.id} of this script; give each"
    with pytest.raises(ConfigError, match=known):
        count(tmp_path, table="Rates", config=config)
    # One that has failed can be corrected, as in a notebook.
    with pytest.raises(KilledError):
        count(tmp_path, table="Failed", config={**CONFIG, "lr": 1e9}, die_after=1)
    count(tmp_path, table="Failed")
    # In another row, table or folder it replaces nothing.
    count(tmp_path, table="Rates", row="other", config=config)
    count(tmp_path, table="Others", config=config)
    count(tmp_path / "elsewhere", table="Rates", config=config)
    record = read_record(tmp_path / "sweeps" / "Rates.json")
    rows = [(job.row, job.seed) for job in record.jobs]
    assert rows == [("counter", 0), ("counter", 1), ("other", 0)]


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ({"grace_seconds": "x"}, r"augean\.run: runtime\.grace_seconds: Value 'x'"),
        ({"threads": -3}, r"augean\.run: runtime\.threads=-3: must be at least 1"),
        ({"progress": "loud"}, r"augean\.run: runtime\.progress=loud: must be one of auto, bar"),
        ({"outputs": ""}, r"augean\.run: runtime\.outputs=: must name a folder"),
        ({"output": "x"}, r"augean\.run: runtime\.output: "),
    ],
)
def test_keywords_are_checked_as_those_of_a_config(runtime: dict[str, Any], message: str) -> None:
    for config in (CONFIG, composed("dataset=synthetic")):
        with pytest.raises(ConfigError, match=message):
            augean.run(config, **runtime)


def test_the_home_folder_may_be_written_as_in_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with augean.run(CONFIG, outputs="~/results") as run:
        run.finish(test_accuracy=0.5)
    assert run.address.path.parent == tmp_path / "results" / "runs"


def test_a_script_that_its_own_processes_run_again_is_refused(tmp_path: Path) -> None:
    code = """
        import augean
        from augean.datasets.image_decoding import Geometry, decode_in_chunks

        with augean.run({}) as run:
            list(decode_in_chunks(["no.png"], Geometry(8), "pets", in_processes=True))
    """
    script = tmp_path / "loop.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    guard = 'below `if __name__ == "__main__":`'
    assert f"imports it and begins the run again; put the script's work {guard}" in done.stderr
    assert "DataError: dataset.name=pets: a process that decodes the images" in done.stderr


LOOP = """
    import sys
    import augean
    import looping.rate

    def train(lr, outputs):
        with augean.run({"lr": lr}, outputs=outputs) as run:
            run.finish(test_accuracy=looping.rate.RATE)
        return run
"""


@pytest.mark.parametrize("edited", ["loop.py", "rate.py"])
def test_a_loop_that_was_edited_since_it_was_loaded_begins_no_run(
    tmp_path: Path, edited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "looping"  # a name of no other test's package
    package.mkdir()
    (package / "loop.py").write_text(textwrap.dedent(LOOP))
    (package / "rate.py").write_text("RATE = 0.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    # A cached file of bytes is valid for a second, whatever is edited within it.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("looping", "looping.loop", "looping.rate"):
        sys.modules.pop(name, None)
    loop = importlib.import_module("looping.loop")
    first = loop.train(0.1, tmp_path)
    with (package / edited).open("a") as file:
        file.write("# a comment is no edit\n")
    loop.train(0.2, tmp_path)
    with (package / edited).open("a") as file:
        file.write("RATE = 0.75\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"{package / edited} has changed since"):
            loop.train(0.3, tmp_path)
    # As in a notebook.
    importlib.reload(sys.modules[f"looping.{Path(edited).stem}"])
    again = loop.train(0.1, tmp_path)
    assert again.address.id != first.address.id


def test_the_code_of_a_prompt_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a prompt or notebook has no file"):
        exec(compile("augean.run({})", "<stdin>", "exec"), {"augean": augean})


def test_the_example_makes_its_table_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "own_loop.py")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(list(tmp_path.glob("outputs/runs/*"))) >= 2)
        process.kill()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "not trained again" in done.stdout
    result = make_report(tmp_path / "outputs")
    assert result.exit_code == 0
    table = pandas.read_csv(result.directory / "tables" / "Own_loop.csv")
    assert table.row.tolist() == ["8 units", "32 units"]
    assert table.n.tolist() == [3, 3]
    assert (table.test_accuracy > 85).all()
    text = (result.directory / "report.md").read_text()
    assert "Data: digits" in text
    assert "Training loop: own_loop.py." in text
    assert "None" not in text
    environment = {**os.environ, "MPLBACKEND": "agg"}
    command = [sys.executable, str(ROOT / "examples" / "own_figure.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own_figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("value", "of_numpy"),
    [
        (0.1, numpy.float64(0.1)),
        (0.25, numpy.float32(0.25)),
        (3, numpy.int64(3)),
        (True, numpy.bool_(True)),
        ([1, 2], (numpy.int64(1), 2)),
    ],
)
def test_a_number_of_numpy_in_the_config_is_the_same_number(
    value: Any, of_numpy: Any, tmp_path: Path
) -> None:
    with augean.run({"values": [value], "seed": 5}, outputs=tmp_path) as run:
        run.finish(test_accuracy=0.5)
    config = {"values": [of_numpy], "seed": numpy.int64(5)}
    with augean.run(config, outputs=tmp_path) as same_run:
        assert same_run.finished
    assert same_run.address.id == run.address.id


def test_a_run_is_finished_with_numbers_of_numpy(tmp_path: Path) -> None:
    with augean.run(CONFIG, outputs=tmp_path) as run:
        for epoch in run.epochs(3):
            run.log(val_accuracy=0.1 * epoch)
        run.finish(
            test_accuracy=numpy.float32(0.5),
            selected_epoch=numpy.argmax([0.1, 0.3, 0.2]) + 1,
            parameters=numpy.int64(5),
            classes=(numpy.int64(1), numpy.float64(0.5)),
        )
    summary = read_summary(run.address.path, run.address.id)
    assert summary is not None
    assert summary.selected_epoch == 2
    assert summary.parameters == 5
    assert summary.facts["classes"] == [1, 0.5]


def test_arguments_of_a_parser_are_refused_with_their_vars(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Namespace.*vars"):
        augean.run(argparse.Namespace(lr=0.1), outputs=tmp_path)


def test_a_loop_that_logs_no_loss_has_figures_without_one(tmp_path: Path) -> None:
    with augean.run(CONFIG, outputs=str(tmp_path), table="Scores", row="one") as run:
        for epoch in run.epochs(3):
            run.log(val_accuracy=0.2 * epoch)
        run.finish(test_accuracy=0.5)
    with augean.run(
        {**CONFIG, "seed": 1}, outputs=str(tmp_path), table="Nothing", row="one"
    ) as run:
        run.finish(test_accuracy=0.5)
    result = make_report(tmp_path)
    assert result.exit_code == 0
    names = {path.name for path in (result.directory / "figures").glob("*.png")}
    assert names == {"Scores_accuracy.png", "Scores_time.png"}


def test_a_run_joins_no_study_and_is_never_hidden(tmp_path: Path) -> None:
    write_record(tmp_path, "tune", [], kind="study")
    for title in ("Активация", "Оптимизатор"):
        count(tmp_path / "titles", table=title)
    records, _ = read_records(tmp_path / "titles")
    assert sorted(record.title for record in records) == ["Активация", "Оптимизатор"]
    with pytest.raises(ConfigError, match=r"table=tune: .*tune\.json is the record of a study"):
        count(tmp_path, table="tune")
    for name in (".counter", "-counter"):
        run, _ = count(tmp_path, config={**CONFIG, "name": name})
        assert run.address.path.name.startswith("_counter-s0-")


def test_two_tables_of_similar_titles_do_not_share_a_record(tmp_path: Path) -> None:
    count(tmp_path, table="A/B", row="one")
    with pytest.raises(ConfigError, match=r"table='A B': .* the table 'A/B', .*A_B\.json"):
        count(tmp_path, table="A B", row="one")
    (record,), _ = read_records(tmp_path)
    assert (record.title, len(record.jobs)) == ("A/B", 1)
    # The table of a sweep file has a title of its own.
    write_record(tmp_path, "table1", [write_run(tmp_path, row="elu")], title="Activations")
    count(tmp_path, table="table1", row="mine")
    assert [job.row for job in read_record(tmp_path / "sweeps/table1.json").jobs] == ["elu", "mine"]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Learning rates (SGD), 2.0", "Learning_rates_SGD_2.0"),  # as it has always been
        ("x" * 300, f"{'x' * 120}-[0-9a-f]{{7}}"),
        (".hidden", r"_\.hidden"),
        ("-lr", "_-lr"),
    ],
)
def test_the_record_of_any_title_is_packed(title: str, name: str, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    count(outputs, table=title)
    (path,) = (outputs / "sweeps").glob("[!.]*.json")
    assert re.fullmatch(name, path.stem)
    assert pack(outputs, tmp_path / "runs.tar.xz") == []
    unpack(tmp_path / "runs.tar.xz", tmp_path / "copy")
    assert read_record(tmp_path / "copy" / "sweeps" / path.name).title == title


def test_errors_of_the_data_are_no_mistake_in_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: Config, *_: Any) -> RunAddress:
        raise ValueError("the data set is broken")

    monkeypatch.setattr("augean.runs.custom_loop.find_address", fail)
    with pytest.raises(ValueError, match="the data set is broken"):
        count(tmp_path, config=compose(["dataset=synthetic"]))


def test_the_command_of_a_loop_that_was_started_as_a_module_starts_it_again(tmp_path: Path) -> None:
    script = """
        import augean
        with augean.run({"seed": 0}, table="Mine", row="a") as run:
            for epoch in run.epochs(1):
                run.log(train_loss=1.0, val_accuracy=0.5)
            run.finish(test_accuracy=0.5)
    """
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "loop.py").write_text(textwrap.dedent(script))
    subprocess.run([sys.executable, "-m", "mine.loop"], cwd=tmp_path, check=True)
    record = read_record(tmp_path / "outputs" / "sweeps" / "Mine.json")
    assert record.command == record.jobs[0].command == "python -m mine.loop"
