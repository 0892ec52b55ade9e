"""A run from start to end: its files, skipping, locking, failing, being killed and resuming."""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import commands
from augean.config.compose import compose
from augean.config.schema import Config
from augean.datasets.synthetic import Synthetic
from augean.errors import AugeanError, ConfigError, DeviceError, RunLocked
from augean.regular_files import digest_regular
from augean.runs.address import build_source, find_address
from augean.runs.execute import execute
from augean.store.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint, save_checkpoint
from augean.store.locks import hold_lock, is_locked
from augean.store.run_directory import run_state
from augean.store.run_files import DIGESTED_FILES
from augean.store.summary import read_summary
from augean.training.build import build_model
from augean.training.checkpoint import ResumableRun
from augean.training.data import load_data
from augean.training.device import algorithms, find_device, precision_hint
from augean.training.loop import evaluate
from augean.training.results import Score
from conftest import ROOT, TINY, KilledError
from same_results import metrics, same_result
from waiting import wait_for

Make = Callable[..., Config]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def weights(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path / "best.pt", weights_only=True)
    return loaded


def test_a_finished_run_has_all_its_files_and_no_others(tiny: Make) -> None:
    outcome = execute(tiny("record.step_loss=true", "record.probe_every=2"))
    path, summary = outcome.address.path, outcome.summary
    files = {file.name for file in path.iterdir()}
    assert files == {*DIGESTED_FILES, "summary.json", "train.log"} - {"state.pt"}
    assert summary.status == "finished"
    assert (summary.num_train, summary.num_val, summary.num_test) == (160, 40, 60)
    assert [row["epoch"] for row in metrics(path)] == ["1", "2", "3"]
    assert numpy.load(path / "steps.npy").shape == (15,)
    rows = list(csv.reader((path / "confusion.csv").read_text().splitlines()))
    counts = numpy.array([[int(cell) for cell in row[1:]] for row in rows[1:]])
    assert rows[0] == ["true", "class_0", "class_1", "class_2", "class_3"]
    assert counts.sum() == 60
    assert counts.trace() / 60 == pytest.approx(summary.test_accuracy)
    for name, digest in summary.files.items():
        assert digest_regular(path / name) == digest
    assert path.name == f"synthetic-resnet18-leaky_relu-sgd-c4-s0-{summary.id}"


def test_the_selected_epoch_is_the_earliest_of_highest_validation_accuracy(tiny: Make) -> None:
    outcome = execute(tiny("trainer.epochs=8"))
    accuracies = [float(row["val_accuracy"]) for row in metrics(outcome.address.path)]
    best = accuracies.index(max(accuracies))
    assert outcome.summary.selected_epoch == best + 1
    assert outcome.summary.val_accuracy == accuracies[best] == outcome.objective


def test_the_test_score_is_that_of_the_saved_weights(tiny: Make) -> None:
    config = tiny("trainer.epochs=5")
    outcome = execute(config)
    network = build_model(config, 4)
    network.load_state_dict(weights(outcome.address.path))
    node = config.dataset
    data = load_data(
        build_source(config), node.num_val, node.num_train, node.split_seed, torch.device("cpu")
    )
    score = evaluate(network, data.test, config)
    assert score.accuracy == outcome.summary.test_accuracy
    assert score.loss == pytest.approx(outcome.summary.test_loss, rel=1e-6)


def test_a_finished_run_is_skipped_at_once_and_left_as_it_was(tiny: Make) -> None:
    first = execute(tiny())
    before = snapshot(first.address.path)
    again = execute(tiny("runtime.checkpoint_seconds=7"))
    assert not first.skipped
    assert again.skipped
    assert snapshot(first.address.path) == before
    assert again.summary == first.summary


def test_asking_for_a_finished_run_imports_neither_torch_nor_pandas(
    tiny: Make, tmp_path: Path
) -> None:
    execute(tiny())
    overrides = [*TINY, f"runtime.outputs={tmp_path}/outputs", f"runtime.data={tmp_path}/data"]
    code = textwrap.dedent("""
        import sys
        from augean.hydra_main import main

        main()
        print("heavy:", sorted(set(sys.modules) & {"torch", "pandas", "sklearn", "PIL"}))
    """)
    command = [sys.executable, "-c", code, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "already finished, not trained again" in done.stdout
    assert "heavy: []" in done.stdout


def test_a_run_directorys_config_is_the_same_run(tiny: Make, tmp_path: Path) -> None:
    outcome = execute(tiny())
    path = outcome.address.path
    again = compose([f"runtime.outputs={tmp_path}/outputs"], name="config", folder=path.resolve())
    assert find_address(again) == outcome.address
    done = commands.train(
        "-cp", str(path.resolve()), "-cn", "config", f"runtime.outputs={tmp_path}/outputs"
    )
    assert "already finished" in done.stdout, done.stderr


def test_a_damaged_summary_is_not_believed_and_the_run_is_made_again(tiny: Make) -> None:
    first = execute(tiny())
    file = first.address.path / "summary.json"
    file.write_text(file.read_text().replace('"test_accuracy": 0', '"test_accuracy": 1'))
    with pytest.raises(AugeanError, match="altered or damaged"):
        read_summary(first.address.path)
    again = execute(tiny())
    assert not again.skipped
    assert again.summary.test_accuracy == first.summary.test_accuracy


def test_two_processes_asking_for_one_run_train_it_once(tmp_path: Path) -> None:
    overrides = [
        *TINY,
        "trainer.epochs=30",
        f"runtime.outputs={tmp_path}",
        "runtime.progress=plain",
    ]
    command = [sys.executable, str(ROOT / "train.py"), *overrides]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("epoch  30/30" in output for output in outputs) == 1
    assert sum("already finished" in output for output in outputs) == 1
    (path,) = (tmp_path / "runs").iterdir()
    assert (path / "train.log").read_text().count("started on") == 1


def test_a_run_that_another_process_trains_is_not_waited_for_in_a_sweep(tiny: Make) -> None:
    address = find_address(tiny())
    with hold_lock(address.outputs, address.id, wait=False), pytest.raises(RunLocked):
        execute(tiny(), wait=False)
    assert run_state(address.outputs, address.path, address.id) == "missing"


KILLED = [
    "",
    "optimizer=adam optimizer.lr=0.01 trainer.reset_optimizer=epoch regularization=label_smoothing",
    (
        "optimizer=adamw regularization=l2_5e-4 augmentation=none record.step_loss=true"
        " record.probe_every=2"
    ),
    "optimizer=rmsprop regularization=cutout schedule=constant",
    "optimizer=adagrad schedule=cosine",
    "regularization=dropout schedule=onecycle",
    "regularization=mixup regularization.cutout=4 schedule.patience=0",
    "trainer.precision=bf16 model=vgg_a_bn record.step_loss=true",
    "trainer.precision=fp16 optimizer=adam augmentation=none",
]


def test_every_kind_of_training_is_among_the_killed_ones(tiny: Make) -> None:
    configs = [tiny(*line.split()) for line in KILLED]
    for group in ("optimizer", "schedule"):
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert options == {getattr(config, group).name for config in configs}
    for name in vars(configs[0].regularization):
        assert any(getattr(config.regularization, name) for config in configs), name
    assert {config.trainer.precision for config in configs} == {"fp32", "bf16", "fp16"}
    assert {config.trainer.reset_optimizer for config in configs} == {"never", "epoch"}
    assert {config.augmentation.crop_padding > 0 for config in configs} == {True, False}


@pytest.mark.parametrize("overrides", KILLED)
def test_a_run_killed_between_epochs_resumes_bit_equal(
    tiny: Make, tmp_path: Path, overrides: str, train_until: Callable[[Config, int], None]
) -> None:
    lines = overrides.split()
    whole = execute(tiny("trainer.epochs=4", *lines, f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny("trainer.epochs=4", *lines), 2)
    address = find_address(tiny("trainer.epochs=4", *lines))
    assert run_state(address.outputs, address.path, address.id) == "interrupted"
    resumed = execute(tiny("trainer.epochs=4", *lines))
    assert resumed.summary.num_resumes == 1
    assert resumed.summary.note == ""
    assert same_result(whole.address.path, resumed.address.path)
    assert not list(resumed.address.path.glob("*checkpoint*"))


def test_a_run_killed_by_sigkill_resumes_by_the_same_command_bit_equal(tmp_path: Path) -> None:
    long = [*TINY, "trainer.epochs=30"]
    killed = [*long, f"runtime.outputs={tmp_path}/killed"]
    path = find_address(compose(killed)).path
    process = subprocess.Popen(
        commands.train_command(*killed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for((path / PREVIOUS).exists, process=process)
    process.kill()
    process.communicate()
    assert not (path / "summary.json").exists()
    for outputs in ("killed", "whole"):
        done = commands.train(*long, f"runtime.outputs={tmp_path}/{outputs}")
        assert done.returncode == 0, done.stderr
    assert same_result(path, tmp_path / "whole" / "runs" / path.name)
    assert json.loads((path / "summary.json").read_text())["num_resumes"] == 1


NEVER = "runtime.checkpoint_seconds=1e9"
"""No checkpoint but the one that a stop signal causes."""


def test_a_stopped_process_ends_after_the_epoch_with_the_signals_status(tmp_path: Path) -> None:
    slow = ["dataset.arguments.num_train_images=2000", "width.channels=16", "trainer.epochs=20"]
    arguments = [*TINY, *slow, f"runtime.outputs={tmp_path}", "runtime.grace_seconds=100", NEVER]
    process = subprocess.Popen(
        commands.train_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = find_address(compose(arguments)).path / "train.log"
    wait_for(lambda: log.exists() and "started on" in log.read_text(), process=process)
    process.terminate()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert "Stopping after this epoch" in output


@contextmanager
def after_the_first_step(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in the middle of the first epoch that this process trains."""
    steps = itertools.count(1)

    def act_once(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # A step with a single weight only tries the optimizer's class.
        is_trial = len(optimizer.param_groups[0]["params"]) == 1
        if not is_trial and next(steps) == 1:
            act()

    hook = register_optimizer_step_post_hook(act_once)
    try:
        yield
    finally:
        hook.remove()


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_stop_signal_ends_the_epoch_and_leaves_a_checkpoint(
    tiny: Make, number: int, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny(NEVER)
    with after_the_first_step(lambda: send(number)), pytest.raises(SystemExit) as ended:
        execute(config)
    assert ended.value.code == code
    assert "Stopping after this epoch" in capfd.readouterr().err
    address = find_address(config)
    content, remark = load_checkpoint(address.path)
    assert content is not None
    assert remark == ""
    log = (address.path / "train.log").read_text()
    assert f"stopped by signal {int(number)} after epoch 1" in log
    assert not is_locked(address.outputs, address.id)


def test_past_the_grace_time_the_epoch_is_abandoned(tiny: Make) -> None:
    def outlast_the_grace_time() -> None:
        send(signal.SIGTERM)
        time.sleep(300)  # which the end of the grace time interrupts

    config = tiny(NEVER, "runtime.grace_seconds=0.01")
    with after_the_first_step(outlast_the_grace_time), pytest.raises(SystemExit) as ended:
        execute(config)
    assert ended.value.code == 143
    path = find_address(config).path
    assert "after epoch 0" in (path / "train.log").read_text()
    assert load_checkpoint(path)[0] is None


def test_a_second_interrupt_stops_at_once(tiny: Make) -> None:
    config = tiny(NEVER)
    twice = partial(send, signal.SIGINT, signal.SIGINT)
    with after_the_first_step(twice), pytest.raises(SystemExit) as ended:
        execute(config)
    assert ended.value.code == 130
    assert "after epoch 0" in (find_address(config).path / "train.log").read_text()


def test_a_stop_signal_in_the_last_epoch_finishes_the_run_and_stops_the_process(
    tiny: Make,
) -> None:
    config = tiny(NEVER, "trainer.epochs=1", "runtime.grace_seconds=100")
    with after_the_first_step(lambda: send(signal.SIGTERM)), pytest.raises(SystemExit) as ended:
        execute(config)
    assert ended.value.code == 143
    address = find_address(config)
    assert run_state(address.outputs, address.path, address.id) == "finished"
    assert not list(address.path.glob("*checkpoint*"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tiny: Make, damage: str, train_until: Callable[[Config, int], None]
) -> None:
    train_until(tiny(), 3)  # leaves the checkpoints of epochs 1 and 2
    path = find_address(tiny()).path
    file = path / CHECKPOINT
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "truncate" else content)
    found, remark = load_checkpoint(path)
    assert found == (path / PREVIOUS).read_bytes()
    assert ("damaged" in remark) == (damage != "remove")


def test_every_moment_of_death_while_saving_leaves_a_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace
    for survived in range(6):
        folder = tmp_path / str(survived)
        folder.mkdir()
        save_checkpoint(folder, b"first")
        save_checkpoint(folder, b"second")
        calls = []

        def dying(
            self: Path, target: Path, calls: list[Path] = calls, limit: int = survived
        ) -> Path:
            if len(calls) == limit:
                raise KilledError
            calls.append(self)
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            try:
                save_checkpoint(folder, b"third")
            except KilledError:
                pass
            else:
                break
        assert load_checkpoint(folder)[0] in (b"second", b"third")
    assert survived > 2
    assert load_checkpoint(folder)[0] == b"third"


def test_a_diverged_run_is_a_result(tiny: Make) -> None:
    config = tiny("optimizer.lr=1e18", "model=vgg_a", "schedule=constant")
    outcome = execute(config)
    assert outcome.summary.status == "diverged"
    assert outcome.summary.test_accuracy is None
    assert outcome.summary.diverged is not None
    assert outcome.summary.diverged.epoch == 1
    assert outcome.objective == 0.0
    assert execute(config).skipped


def test_a_loss_that_explodes_in_the_last_step_is_a_diverged_run_too(tiny: Make) -> None:
    # One step: its own loss is finite, what it does to the weights shows in the evaluation alone.
    setting = [
        "trainer.batch_size=160",
        "trainer.epochs=1",
        "optimizer.lr=1e18",
        "model=vgg_a",
        "schedule=constant",
    ]
    for extra in ([], ["dataset.num_val=0", "trainer.batch_size=200"]):
        outcome = execute(tiny(*setting, *extra))
        assert outcome.summary.status == "diverged"
        assert outcome.summary.test_accuracy is None
        assert outcome.summary.diverged is not None
        assert outcome.summary.diverged.epoch == 1
        assert outcome.summary.diverged.step is None


def test_a_run_that_diverges_late_is_worth_nothing_to_a_sweeper_and_keeps_its_losses(
    tiny: Make,
) -> None:
    setting = ["optimizer.lr=1e6", "model=vgg_a", "schedule=constant", "record.step_loss=true"]
    outcome = execute(tiny(*setting))
    assert outcome.summary.status == "diverged"
    assert outcome.objective == 0.0
    what = outcome.summary.diverged
    assert what is not None
    assert what.step is not None
    steps = numpy.load(outcome.address.path / "steps.npy")
    assert len(steps) == 5 * (what.epoch - 1) + what.step - 1
    assert numpy.isfinite(steps).all()
    assert steps[-1] == pytest.approx(what.last_loss)


def test_equal_accuracies_of_zero_select_the_first_epoch(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Score(
        loss=1.0,
        accuracy=0.0,
        confusion=torch.zeros(4, 4, dtype=torch.int64),
        correct=torch.zeros(40, dtype=torch.bool),
    )
    monkeypatch.setattr("augean.training.loop.evaluate", lambda *_: score)
    assert execute(tiny()).summary.selected_epoch == 1


def test_a_resumed_runs_threads_do_not_bind_the_next_run(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    resume = ResumableRun.resume

    def resume_with_three_threads(self: ResumableRun) -> None:
        resume(self)
        self.threads = 3

    monkeypatch.setattr(ResumableRun, "resume", resume_with_three_threads)
    assert execute(tiny()).summary.threads == 3
    assert torch.get_num_threads() == before


def test_leftovers_of_an_earlier_try_are_cleared(tiny: Make) -> None:
    path = find_address(tiny()).path
    path.mkdir(parents=True)
    (path / "failure.txt").write_text("an old story")
    (path / ".best.pt.0123456789ab.tmp").write_text("torn")
    execute(tiny())
    assert not (path / "failure.txt").exists()
    assert not list(path.glob(".*.tmp"))


def test_without_a_validation_split_the_last_epoch_is_taken(tiny: Make) -> None:
    outcome = execute(tiny("dataset.num_val=0", "schedule=cosine"))
    assert outcome.summary.selected_epoch == 3
    assert outcome.summary.val_accuracy is None
    assert metrics(outcome.address.path)[0]["val_loss"] == ""
    assert outcome.summary.num_train == 200


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            "optimizer=adam optimizer.momentum=0.9",
            "optimizer.momentum: Adam takes no such argument; it takes params, lr",
        ),
        ("+optimizer.arguments.speed=1", "optimizer.arguments.speed: SGD takes no such argument"),
        ("optimizer._target_=torch.optim.Fast", "torch.optim has no Fast"),
        ("optimizer._target_=torch.nn.ReLU", "must be a class derived from torch.optim"),
        ("optimizer._target_=torch.optim.Optimizer", "must be a class derived from torch.optim"),
        ("optimizer._target_=torch.optim.LBFGS", "optim.LBFGS: its step needs a closure"),
        (
            "optimizer._target_=torch.optim.SparseAdam optimizer.momentum=null",
            "optim.SparseAdam: cannot make a step of the training (SparseAdam does not support",
        ),
        ("optimizer._target_=torch.optim.Muon", "optimizer: Muon only supports 2D parameters"),
        (
            "optimizer=adam +optimizer.arguments.capturable=true runtime.device=cpu",
            "optim.Adam: cannot make a step of the training (If capturable=True",
        ),
        ("model=vgg_a +model.stem=cifar", "model.stem: VGG takes no such argument"),
        ("model.arguments.blocks=[]", "model: "),
        ("dataset.num_val=200", "dataset.num_val=200"),
        ("dataset.num_train=500", "dataset.num_train=500"),
        (
            "trainer.batch_size=53",
            "trainer.batch_size=53: the last batch of 160 training images has one",
        ),
        ("regularization.mixup=0.001", "regularization.mixup=0.001: must be 0, which is off, or"),
        (
            "trainer.precision=fp16"
            " ++optimizer.arguments={nesterov:false,dampening:0.5,fused:true}",
            "optimizer.arguments.dampening=0.5: cannot be used with trainer.precision=fp16",
        ),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_and_leaves_no_directory(
    tiny: Make, overrides: str, message: str
) -> None:
    config = tiny(*overrides.split())
    with pytest.raises(ConfigError) as caught:
        execute(config)
    assert message in str(caught.value)
    assert not list((Path(config.runtime.outputs) / "runs").glob("*"))


@pytest.mark.parametrize("name", ["Rprop", "Adafactor", "ASGD", "NAdam", "Adadelta"])
def test_any_optimizer_whose_step_is_an_ordinary_one_trains(name: str, tiny: Make) -> None:
    overrides = [
        "optimizer.momentum=null",
        "~optimizer.arguments.nesterov",
        f"optimizer._target_=torch.optim.{name}",
    ]
    assert execute(tiny(*overrides, "trainer.epochs=1")).summary.test_accuracy is not None


class Sharpness(torch.optim.SGD):
    """An own optimizer with a closure in its step, which its signature does not tell."""

    def step(self, closure: Any = None) -> Any:
        """Demand a closure."""
        assert closure is not None, "requires a closure"
        return super().step(closure)


OWN_ARGUMENTS = ("optimizer.momentum=null", "~optimizer.arguments.nesterov")
"""Leave out what an own optimizer does not take."""


class WarmUp(torch.optim.SGD):
    """An own optimizer that counts its steps in its groups, as schedule-free ones do."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        for group in self.param_groups:
            group["num_steps"] = 0

    def step(self, closure: Any = None) -> Any:
        """Make a step, of the first 20 each larger than the one before."""
        for group in self.param_groups:
            group["num_steps"] += 1
            group["lr"] *= min(1, group["num_steps"] / 20)
        return super().step(closure)


class NoRate(torch.optim.Optimizer):
    """An own optimizer without a learning rate."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


def test_what_an_own_optimizer_keeps_in_its_groups_is_resumed(
    tiny: Make, tmp_path: Path, train_until: Callable[[Config, int], None]
) -> None:
    configs = [
        tiny(*OWN_ARGUMENTS, f"runtime.outputs={tmp_path}/{name}") for name in ("whole", "killed")
    ]
    for config in configs:
        config.optimizer._target_ = f"{__name__}.WarmUp"
    train_until(configs[1], 2)
    whole, resumed = (execute(config) for config in configs)
    assert resumed.summary.num_resumes == 1
    assert same_result(whole.address.path, resumed.address.path)


def test_an_own_optimizer_without_a_learning_rate_is_refused_with_its_key(tiny: Make) -> None:
    config = tiny(*OWN_ARGUMENTS)
    config.optimizer._target_ = f"{__name__}.NoRate"
    with pytest.raises(ConfigError, match=r"^optimizer\.lr: NoRate takes no such argument"):
        execute(config)


def test_an_own_optimizer_that_needs_a_closure_is_refused_before_the_data_is_read(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    config.optimizer._target_ = f"{__name__}.Sharpness"
    monkeypatch.setattr(Synthetic, "load", lambda _: pytest.fail("the data was read"))
    with pytest.raises(ConfigError, match=r"\.Sharpness: its step needs a closure"):
        execute(config)


def test_a_device_that_is_not_there_is_named(tiny: Make) -> None:
    with pytest.raises(DeviceError, match="cuda:99: not available here"):
        execute(tiny("runtime.device=cuda:99"))


def test_a_numbered_gpu_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Streams and graphs are made on the current device: a step of a network on another would not be
    # recorded.
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device("auto") == torch.device("cuda")
    assert chosen == [torch.device("cuda:1")]


def test_fp32_is_no_tf32_while_a_run_trains() -> None:
    before = torch.backends.cudnn.allow_tf32
    with algorithms(deterministic=False):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_missing_data_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    done = commands.train(
        "dataset=image_folder",
        "dataset.name=photos",
        f"runtime.data={tmp_path}/data",
        f"runtime.outputs={tmp_path}/out",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{tmp_path}/data/photos" in done.stderr
    assert not (tmp_path / "out" / "runs").exists()


def test_an_exception_leaves_a_failure_note_that_the_next_try_clears(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("the network is on fire")

    with monkeypatch.context() as patch:
        patch.setattr("augean.training.trainer.evaluate_final", broken)
        with pytest.raises(ValueError, match="on fire"):
            execute(tiny())
    address = find_address(tiny())
    assert "the network is on fire" in (address.path / "failure.txt").read_text()
    assert run_state(address.outputs, address.path, address.id) == "failed"
    execute(tiny())
    assert not (address.path / "failure.txt").exists()


def test_own_code_that_exits_ends_its_run_alone_as_a_failed_one(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augean.training.trainer.evaluate_final", lambda *_: sys.exit(0))
    with pytest.raises(AugeanError, match=r"test_execute\.py.*exit"):
        execute(tiny())
    address = find_address(tiny())
    assert run_state(address.outputs, address.path, address.id) == "failed"


def test_an_output_folder_that_cannot_be_written_is_named(tiny: Make, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with pytest.raises(AugeanError, match=r"runtime\.outputs"):
        execute(tiny())


def test_deterministic_runs_are_bit_equal(tiny: Make, tmp_path: Path) -> None:
    one, other = (
        execute(tiny("trainer.deterministic=true", f"runtime.outputs={tmp_path}/{name}"))
        for name in ("one", "other")
    )
    assert same_result(one.address.path, other.address.path)


def test_a_precision_that_is_slow_on_the_device_gets_a_hint() -> None:
    cpu = torch.device("cpu")
    assert "trainer.precision=fp32 is faster" in str(precision_hint("fp16", cpu))
    assert precision_hint("fp32", cpu) is None


@pytest.mark.parametrize(("capability", "fastest"), [((7, 5), "fp16"), ((8, 0), "bf16")])
def test_a_gpu_is_told_the_precision_that_it_computes_fastest(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fastest: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    cuda = torch.device("cuda")
    assert f"trainer.precision={fastest}" in str(precision_hint("fp32", cuda))
    assert precision_hint(fastest, cuda) is None


@pytest.mark.parametrize("warn_only", [False, True])
def test_training_leaves_deterministic_algorithms_as_it_found_them(warn_only: bool) -> None:
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        with algorithms(deterministic=False):
            assert not torch.are_deterministic_algorithms_enabled()
            assert not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
    finally:
        torch.use_deterministic_algorithms(False)
