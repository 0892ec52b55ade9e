"""What a run leaves behind for questions that are asked later."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import augean
from augean.config.code_digest import file_digest
from augean.config.schema import Config, RuntimeConfig
from augean.errors import AugeanError
from augean.inference.images import read_test_set
from augean.inference.load import load_model
from augean.runs.address import build_source
from augean.runs.execute import execute
from augean.store.archive.members import check_run
from augean.store.archive.packing import pack, unpack
from augean.store.checkpoints import load_checkpoint, save_checkpoint
from augean.store.run_files import DIGESTED_FILES
from augean.store.run_progress import read_progress
from augean.store.summary import read_summary
from augean.training.checkpoint import decode_checkpoint, encode_checkpoint
from augean.training.device import exact_fp32, torch_settings
from augean.training.trainer import Trainer

Make = Callable[..., Config]
TrainUntil = Callable[[Config, int], None]


def read_correct(path: Path, num_test: int) -> numpy.ndarray:
    """Return which test images are right, bool [num_test]."""
    packed = numpy.load(path / "correct.npy")
    return numpy.unpackbits(packed, count=num_test).astype(bool)


def predict(path: Path, data: str) -> numpy.ndarray:
    """Return which test images the run's network gets right by a way of its own, bool [N]."""
    run = load_model(path, data=data, device="cpu", allowed_packages=[])
    images, labels = read_test_set(run)
    return run.score(images).argmax(1).numpy() == labels


def files_of(path: Path) -> dict[str, str]:
    """Return the digests of the files that equal runs have in common."""
    summary = read_summary(path)
    assert summary is not None
    return {name: digest for name, digest in summary.files.items() if name != "metrics.csv"}


def test_correct_npy_says_which_test_images_are_right(tiny: Make) -> None:
    config = tiny()
    outcome = execute(config)
    path = outcome.address.path
    correct = read_correct(path, 60)
    assert correct.tolist() == predict(path, config.runtime.data).tolist()
    assert correct.mean() == pytest.approx(outcome.summary.test_accuracy)
    assert 0 < correct.sum() < 60
    assert (path / "correct.npy").stat().st_size == 128 + 8


def test_correct_npy_travels_in_an_archive_and_is_checked(tiny: Make, tmp_path: Path) -> None:
    config = tiny("runtime.keep_state=true")
    outcome = execute(config)
    archive = tmp_path / "runs.tar.xz"
    pack(Path(config.runtime.outputs), archive)
    unpack(archive, tmp_path / "copy")
    copy = tmp_path / "copy" / "runs" / outcome.address.path.name
    assert {file.name for file in outcome.address.path.iterdir()} - {
        file.name for file in copy.iterdir()
    } == {"best.pt", "state.pt"}
    assert check_run(copy)
    (copy / "correct.npy").write_bytes(b"another")
    with pytest.raises(AugeanError, match=r"correct\.npy: altered"):
        check_run(copy)


def test_the_summary_names_the_data_and_each_file_of_own_code(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(
        "from own_parts import stem\n"
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes, activation, channels, dropout):\n"
        "        head = nn.Linear(channels, num_classes)\n"
        "        super().__init__(\n"
        "            stem(channels), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)\n"
    )
    (tmp_path / "own_parts.py").write_text(
        "from torch import nn\ndef stem(channels):\n    return nn.Conv2d(3, channels, 3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny("runtime.allowed_packages=[own_net]", "model._target_=own_net.Net")
    config.model.arguments = {}
    config.model.stem = None
    summary = execute(config).summary
    assert summary.data_digest == build_source(config).digest()
    assert summary.code_digests is not None
    assert list(summary.code_digests) == ["own_net.py", "own_parts.py"]
    for name in ("own_net", "own_parts"):
        sys.modules.pop(name, None)


def test_a_file_that_is_edited_during_the_training_keeps_its_first_digest(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.json"
    file.write_text("as it was loaded")
    digest = file_digest(file)
    train = Trainer.train

    def edit_and_train(trainer: Trainer, *arguments: Any) -> Any:
        file.write_text("edited since")
        return train(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train", edit_and_train)
    summary = execute(tiny(f"code_files=[{file}]")).summary
    assert summary.code_digests == {str(file): digest}


def test_a_run_of_augeans_own_code_has_no_code_digests(tiny: Make) -> None:
    assert execute(tiny()).summary.code_digests == {}


@pytest.mark.parametrize(
    ("deterministic", "expected"), [(False, {}), (True, {"deterministic_algorithms": True})]
)
def test_the_summary_names_what_torch_computed_with(
    deterministic: bool, expected: dict[str, object], tiny: Make
) -> None:
    summary = execute(tiny(f"trainer.deterministic={deterministic}")).summary
    assert summary.instruction_set == torch.backends.cpu.get_cpu_capability()
    assert summary.torch_settings == expected


def test_a_limit_of_onednns_instruction_set_is_named(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert execute(tiny()).summary.torch_settings == {"ONEDNN_MAX_CPU_ISA": "ALL"}


def test_fp32_is_fp32_whatever_the_process_has_set(tiny: Make, tmp_path: Path) -> None:
    expected = files_of(execute(tiny()).address.path)
    dtype = torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        path = execute(tiny(f"runtime.outputs={tmp_path}/other")).address.path
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
    assert files_of(path) == expected


def test_fp32_is_fp32_under_torchs_newer_settings_too(tiny: Make, tmp_path: Path) -> None:
    expected = files_of(execute(tiny()).address.path)
    backends: Any = torch.backends
    cudnn = backends.cudnn.allow_tf32
    try:
        backends.fp32_precision = "tf32"
        # Set by an earlier run of this process, it would not follow the whole.
        backends.cuda.matmul.fp32_precision = "tf32"
        outcome = execute(tiny(f"runtime.outputs={tmp_path}/other"))
        assert backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        backends.fp32_precision = "none"
        backends.cuda.matmul.fp32_precision = "none"
        backends.cudnn.allow_tf32 = cudnn
    assert outcome.summary.torch_settings == {}
    assert files_of(outcome.address.path) == expected


def test_a_newer_setting_that_own_code_makes_is_named() -> None:
    convolution: Any = torch.backends.mkldnn.conv
    before = convolution.fp32_precision
    with exact_fp32():
        convolution.fp32_precision = "bf16"
        settings = torch_settings(torch.device("cpu"), RuntimeConfig())
    assert settings == {"mkldnn.conv.fp32_precision": "bf16"}
    assert convolution.fp32_precision == before


def test_code_that_runtime_chose_is_named_where_it_computes() -> None:
    runtime = RuntimeConfig(compile=True, fused_norm=True)
    assert torch_settings(torch.device("cpu"), runtime) == {"runtime.compile": True}
    on_cuda = torch_settings(torch.device("cuda"), runtime)
    assert on_cuda["runtime.compile"]
    assert on_cuda["runtime.fused_norm"]


def alter_environment(path: Path, identity: str, **values: str | None) -> None:
    """Let the newest checkpoint come from another environment; None removes a value."""
    content, _ = load_checkpoint(path)
    assert content is not None
    state = decode_checkpoint(content, identity)
    for name, value in values.items():
        if value is None:
            del state["environment"][name]
        else:
            state["environment"][name] = value
    save_checkpoint(path, encode_checkpoint(identity, state))


@pytest.mark.parametrize(
    ("saved", "note"),
    [
        ("AVX9000", "resumed after epoch 1 with another instruction set: not exact"),
        (None, ""),  # as earlier releases wrote it
    ],
)
def test_a_resume_under_another_instruction_set_is_noted(
    saved: str | None, note: str, tiny: Make, train_until: TrainUntil
) -> None:
    config = tiny()
    train_until(config, 2)
    (path,) = (Path(config.runtime.outputs) / "runs").iterdir()
    alter_environment(path, path.name[-10:], instruction_set=saved)
    summary = execute(config).summary
    assert summary.num_resumes == 1
    assert summary.note == note


def test_the_last_state_is_kept_on_request(tiny: Make) -> None:
    outcome = execute(tiny("runtime.keep_state=true"))
    path = outcome.address.path
    state = decode_checkpoint((path / "state.pt").read_bytes(), outcome.address.id)
    assert [row["epoch"] for row in state["progress"]["rows"]] == [1, 2, 3]
    assert state["optimizer"]["state"]
    best = torch.load(path / "best.pt", weights_only=True)
    for name, value in state["progress"]["best_weights"].items():
        assert torch.equal(value, best[name])
    assert "state.pt" in outcome.summary.files


def test_a_run_has_all_files_that_a_summary_can_prove(tiny: Make) -> None:
    outcome = execute(
        tiny("runtime.keep_state=true", "record.step_loss=true", "record.probe_every=2")
    )
    assert set(outcome.summary.files) == set(DIGESTED_FILES)


def test_dead_units_are_counted_for_activations_that_can_be_zero(tiny: Make) -> None:
    shares = execute(tiny("activation=relu", "optimizer.lr=5", "trainer.epochs=1")).summary
    assert shares.dead_units
    assert next(iter(shares.dead_units)) == "stem.2"
    assert any(shares.dead_units.values())
    assert execute(tiny("activation=leaky_relu")).summary.dead_units == {}


def test_a_run_in_training_says_how_far_it_is(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augean.training.progress.WRITE_SECONDS", 0)
    config = tiny()
    seen = []

    def look(epoch: int, _val_accuracy: float | None) -> bool:
        (path,) = (Path(config.runtime.outputs) / "runs").iterdir()
        progress = read_progress(path)
        assert progress is not None
        seen.append((progress.epoch, progress.epochs, round(progress.fraction, 2)))
        assert progress.seconds_left is not None
        assert (progress.seconds_left == 0) == (epoch == 3)
        assert progress.val_accuracy is not None
        return False

    outcome = execute(config, should_stop=look)
    assert seen == [(2, 3, 0.33), (3, 3, 0.67), (3, 3, 1.0)]
    assert read_progress(outcome.address.path) is None


def test_an_interrupted_run_leaves_no_progress_file(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augean.training.progress.WRITE_SECONDS", 0)
    config = tiny()
    with pytest.raises(AugeanError, match="pruned"):
        execute(config, should_stop=lambda epoch, _: epoch == 2)
    (path,) = (Path(config.runtime.outputs) / "runs").iterdir()
    assert (path / "checkpoint.pt").exists()
    assert read_progress(path) is None


def test_a_loop_of_ones_own_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augean.runs.custom_run.WRITE_SECONDS", 0)
    with augean.run({"name": "own"}, outputs=str(tmp_path)) as run:
        for epoch in run.epochs(4):
            run.log(train_loss=1.0, val_accuracy=0.5 / epoch)
            progress = read_progress(run.address.path)
            assert progress is not None
            assert progress.fraction == epoch / 4
            assert progress.val_accuracy == 0.5 / epoch
        run.finish(test_accuracy=0.5, correct=[True, False])
    assert read_progress(run.address.path) is None
    assert run.summary is not None
    assert run.summary.num_test == 2
    assert read_correct(run.address.path, 2).tolist() == [True, False]
    assert run.summary.code_digests is not None
    assert Path(__file__).name in run.summary.code_digests


def test_an_epoch_without_validation_is_not_the_best_of_a_loop(tmp_path: Path) -> None:
    with augean.run({"name": "blind"}, outputs=str(tmp_path)) as run:
        for epoch in run.epochs(3):
            run.log(train_loss=1 / epoch)
        assert run.best_epoch == 0
        run.finish(test_accuracy=0.5, selected_epoch=run.best_epoch)
    assert run.summary is not None
    assert run.summary.selected_epoch == 3


def test_a_composed_config_in_a_loop_of_ones_own_names_its_data(tiny: Make) -> None:
    config = tiny()
    with augean.run(config) as run:
        for _epoch in run.epochs(1):
            run.log(train_loss=1.0)
        run.finish(test_accuracy=0.5)
    assert run.summary is not None
    assert run.summary.data_digest == build_source(config).digest()


@pytest.mark.parametrize("correct", [[True, True], [], [[True, False]]])
def test_correct_of_another_score_is_refused(correct: list[bool], tmp_path: Path) -> None:
    with augean.run({"name": "own"}, outputs=str(tmp_path)) as run:
        for _epoch in run.epochs(1):
            run.log(train_loss=1.0)
        with pytest.raises(AugeanError, match=r"finish: test_accuracy=0\.5, but in `correct`"):
            run.finish(test_accuracy=0.5, correct=correct)
        run.finish(test_accuracy=0.5)
