"""Evaluate, predict and export: which run is meant, numbers that agree with the run's own, clear
refusals.
"""

import csv
import importlib.util
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

import augean
import commands
from augean.cli.main import main
from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import AugeanError
from augean.inference.export import export
from augean.inference.images import read_test_set
from augean.inference.load import TrainedModel, load_model
from augean.inference.metrics import calibration_error, measure
from augean.runs.address import RunOutcome, build_source, find_address
from augean.runs.execute import execute
from augean.store.archive.packing import pack, unpack
from augean.store.find_run import find_run
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary, write_summary
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.training.build import build_model
from conftest import ROOT, TINY
from fake_runs import sign


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """One finished run, which no test may change."""
    folder = tmp_path_factory.mktemp("finished")
    return execute(
        compose([*TINY, f"runtime.outputs={folder}/outputs", f"runtime.data={folder}/data"])
    )


def load(path: Path, data: Path | None = None) -> TrainedModel:
    return load_model(
        path, data=str(data or path.parents[2] / "data"), device="cpu", allowed_packages=[]
    )


def command(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> str | int | None:
    """The exit of `augean ...`: its code, or the message on standard error."""
    monkeypatch.setattr(sys, "argv", ["augean", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_evaluate_gives_the_runs_own_test_score(
    finished: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, id_, output = finished.address.path, finished.address.id, tmp_path / "new/result.json"
    before = {file: file.read_bytes() for file in path.iterdir()}
    options = [
        "--outputs",
        finished.address.outputs,
        "--data",
        path.parents[2] / "data",
        "--output",
        output,
    ]
    assert command(monkeypatch, "evaluate", id_[:5], *options) == 0
    result = json.loads(output.read_text())
    assert result["accuracy"] == finished.summary.test_accuracy
    assert result["loss"] == pytest.approx(finished.summary.test_loss, rel=1e-5)
    rows = list(csv.DictReader((path / "confusion.csv").read_text().splitlines()))
    for row in rows:
        counts = {name: int(number) for name, number in row.items() if name != "true"}
        own = result["classes"][row["true"]]
        assert own["num_images"] == sum(counts.values())
        assert own["accuracy"] == pytest.approx(counts[row["true"]] / own["num_images"])
    text = capsys.readouterr().out
    assert "test set of synthetic, 60 images: accuracy" in text
    assert "expected calibration error" in text
    assert {file: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_a_device_that_is_not_there_is_named_as_the_command_takes_it(
    device: str,
    finished: RunOutcome,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exit_code = command(monkeypatch, "evaluate", finished.address.path, "--device", device)
    message = f"{exit_code} {capsys.readouterr().err}"
    assert f"--device {device}: " in message
    assert "runtime.device" not in message
    assert "--allow" not in message


def test_a_folder_of_images_is_evaluated_and_predicted_as_the_same_arrays(
    finished: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = load(finished.address.path)
    images, labels = read_test_set(run)
    chosen = numpy.flatnonzero(labels < 3)[:12]  # one class has no folder
    for index in chosen:
        file = tmp_path / "photos" / run.classes[labels[index]] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index]).save(file)
    shutil.copytree(
        finished.address.path, tmp_path / "alone"
    )  # the directory is all that is needed
    output = tmp_path / "result.json"
    arguments = [
        "evaluate",
        tmp_path / "alone",
        "--images",
        tmp_path / "photos",
        "--output",
        output,
        "--device",
        "cpu",
    ]
    assert command(monkeypatch, *arguments) == 0
    expected = measure(run.score(images[chosen]), torch.from_numpy(labels[chosen]), run.classes)
    result = json.loads(output.read_text())
    assert f"--output {output}: exists; remove it" in str(command(monkeypatch, *arguments))
    output.unlink()
    assert result["accuracy"] == expected["accuracy"]
    assert result["calibration_error"] == pytest.approx(expected["calibration_error"], abs=1e-6)
    assert len(result["classes"]) == 3
    capsys.readouterr()

    paths = sorted(map(str, (tmp_path / "photos").rglob("*.png")))[:2]
    assert (
        command(monkeypatch, "predict", tmp_path / "alone", *paths, "--top", "2", "--device", "cpu")
        == 0
    )
    lines = capsys.readouterr().out.splitlines()[1:]
    for path, line in zip(paths, lines, strict=True):
        best = run.score(images[[int(Path(path).stem)]]).softmax(1)[0]
        name = run.classes[int(best.argmax())]
        assert line.startswith(f"{path}: {name} {best.max().item():.1%}, ")
        assert line.count("%") == 2

    # A folder stands for its images.
    folder = tmp_path / "photos" / run.classes[0]
    words = ["predict", tmp_path / "alone", folder, "--top", "1", "--device", "cpu"]
    assert command(monkeypatch, *words) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(": ")[0] for line in lines] == sorted(map(str, folder.iterdir()))
    (tmp_path / "empty").mkdir()
    message = command(monkeypatch, "predict", tmp_path / "alone", tmp_path / "empty")
    assert (
        str(message) == f"{tmp_path}/empty: no image in it; name a folder of images, or image files"
    )

    (tmp_path / "photos" / "unicorn").mkdir()
    message = command(monkeypatch, *arguments)
    assert (
        "unicorn: not classes of the run, whose classes are class_0, class_1, class_2, class_3"
        in str(message)
    )
    (tmp_path / "photos" / "unicorn").rmdir()
    scan = tmp_path / "photos" / run.classes[0] / "scan.gif"
    scan.write_bytes(b"whatever")
    message = command(monkeypatch, *arguments)
    assert "1 image would be left out, such as class_0/scan.gif" in str(message)
    scan.rename(tmp_path / "photos" / "scan.gif")
    message = command(monkeypatch, *arguments)
    assert "1 image beside the folders of the classes, such as scan.gif" in str(message)
    (tmp_path / "photos" / "scan.gif").unlink()
    message = command(
        monkeypatch,
        "evaluate",
        tmp_path / "alone",
        "--images",
        tmp_path / "nowhere",
        "--device",
        "cpu",
    )
    assert str(message).endswith("nowhere: no such folder; it holds <class>/<image>")


@pytest.mark.parametrize("model", ["resnet18", "vgg_a_bn"])
def test_exports_give_the_networks_outputs(
    model: str, tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    safetensors = pytest.importorskip("safetensors", reason="the extra export is not installed")
    config = tiny(f"model={model}", "trainer.epochs=1")
    path = execute(config).address.path
    monkeypatch.chdir(tmp_path)
    for kind in ("onnx", "safetensors"):
        assert command(monkeypatch, "export", path, "--to", kind) == 0
        assert str(command(monkeypatch, "export", path, "--to", kind)).endswith(
            "another file with --output"
        )
    run = load(path)
    images, _ = read_test_set(run)
    session = onnxruntime.InferenceSession(f"{path.name}.onnx")
    (logits,) = session.run(None, {"images": images[:7]})  # another batch than it was made with
    torch.testing.assert_close(
        torch.from_numpy(logits), run.score(images[:7]), rtol=1e-3, atol=1e-3
    )
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(run.classes)
    with safetensors.safe_open(f"{path.name}.safetensors", "pt") as file:
        weights = torch.load(path / "best.pt", weights_only=True)
        assert set(file.keys()) == set(weights)
        assert all(torch.equal(file.get_tensor(name), weights[name]) for name in weights)
        assert json.loads(file.metadata()["run"]) == run.summary.id
    assert not list(tmp_path.glob(".*.part*"))


class TwoNames(torch.nn.Module):
    """A network that has its only part under two names."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part
        self.same_part = part

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.same_part(images)
        return logits


def test_weights_under_two_names_are_exported_under_both(
    finished: RunOutcome, tmp_path: Path
) -> None:
    pytest.importorskip("safetensors", reason="the extra export is not installed")
    safetensors = importlib.import_module("safetensors.torch")
    run = load(finished.address.path)
    file = tmp_path / "network.safetensors"
    assert export(replace(run, network=TwoNames(run.network)), file) == 0
    weights = safetensors.load_file(file)
    for name, value in run.network.state_dict().items():
        assert torch.equal(weights[f"part.{name}"], value)
        assert torch.equal(weights[f"same_part.{name}"], value)


def test_a_network_whose_modules_have_versions_is_exported(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    pytest.importorskip("safetensors", reason="the extra export is not installed")
    network = ["model=torchvision", "model.arguments.name=mnasnet0_5", "width.channels=null"]
    config = tiny(*network, "dataset.image_size=32", "trainer.epochs=1", "dataset.num_train=64")
    path = execute(config).address.path
    assert export(load(path), tmp_path / "network.safetensors") == 0
    assert (tmp_path / "network.safetensors").exists()


def test_an_export_that_differs_from_the_network_is_not_written(
    finished: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "augean.inference.export._write_safetensors",
        lambda network, images, *_: network(images).detach() * 1.01,
    )
    with pytest.raises(AugeanError, match="not written, as its outputs differ"):
        export(load(finished.address.path), tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AugeanError, match=r"pip install 'augean\[export\]'"):
        export(load(finished.address.path), tmp_path / "network.onnx")


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(5000, generator=generator, dtype=torch.float64)
    right = torch.rand(5000, generator=generator, dtype=torch.float64) < confidence**2
    expected = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        gap = (right[inside].double().mean() - confidence[inside].mean()).abs()
        expected += float(inside.double().mean() * gap)
    assert calibration_error(confidence, right) == pytest.approx(expected)
    assert (
        calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([False, True])) == 0
    )  # both ends have a bin
    # A confidence that is always right by its own measure has no error, one that never is has all
    # of it.
    assert calibration_error(torch.ones(10), torch.zeros(10, dtype=torch.bool)) == 1


def write_sweep(outputs: Path, scores: dict[str, tuple[float | None, float]]) -> None:
    """A sweep `mine` of runs with these validation and test accuracies."""
    for id_, (val, test) in scores.items():
        path = runs_dir(outputs) / f"x-{id_}"
        path.mkdir(parents=True)
        (path / "config.yaml").write_text("{}\n")
        summary = RunSummary(
            id=id_,
            status=RunState.FINISHED,
            config={},
            val_accuracy=val,
            test_accuracy=test,
        )
        write_summary(path, summary)
    jobs = [SweepJob(id_, f"x-{id_}", "row", seed) for seed, id_ in enumerate(scores)]
    SweepRecord(
        "mine", "Mine", "command", "now", [*jobs, SweepJob("0" * 10, "x-missing", "row", 9)]
    ).write(outputs)


def test_best_is_by_validation_accuracy_and_never_by_test(tmp_path: Path) -> None:
    write_sweep(
        tmp_path, {"aaaa000000": (0.8, 0.99), "aabb000000": (0.9, 0.1), "bbbb000000": (0.9, 0.95)}
    )
    assert find_run("best:mine", tmp_path).name == "x-aabb000000"
    assert find_run("best:mi", tmp_path).name == "x-aabb000000"
    assert find_run("b", tmp_path).name == "x-bbbb000000"
    assert find_run("x-bbbb000000", tmp_path).name == "x-bbbb000000"
    assert find_run(str(tmp_path / "runs" / "x-bbbb000000"), tmp_path).name == "x-bbbb000000"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aa", "aa: 2 runs begin with it; those in {0}:\n  x-aaaa000000\n  x-aabb000000"),
        (
            "cc",
            "cc: no run has an id that begins with it, nor is it a path; those in {0}:\n  x-aaaa",
        ),
        ("", "no run has an id"),
        ("best:", "best:: name a sweep, as in best:<sweep>; those in {0}: mine"),
        ("best:mone", "best:mone: names none of the sweeps in {0}; did you mean best:mine?"),
    ],
)
def test_what_names_no_single_run_is_told_what_there_is(
    name: str, message: str, tmp_path: Path
) -> None:
    write_sweep(tmp_path, {"aaaa000000": (0.8, 0.9), "aabb000000": (0.9, 0.9)})
    with pytest.raises(AugeanError) as caught:
        find_run(name, tmp_path)
    assert message.format(tmp_path) in str(caught.value)


def test_a_sweep_without_validation_has_no_best(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"aaaa000000": (None, 0.9)})
    with pytest.raises(
        AugeanError, match="none of its runs is finished with a validation accuracy"
    ):
        find_run("best:mine", tmp_path)


def from_a_stranger(finished: RunOutcome, folder: Path, change: Callable[[str], str]) -> Path:
    """Copy a run, and sign it with another text of its config."""
    name = finished.address.path.name
    path = shutil.copytree(finished.address.path, folder / "x/runs" / name)
    text = (path / "config.yaml").read_text()
    assert change(text) != text
    (path / "config.yaml").write_text(change(text))
    sign(path)
    return path


def test_a_config_whose_aliases_have_no_end_is_refused_soon(
    finished: RunOutcome, tmp_path: Path
) -> None:
    bomb = "a0: &a0 [x, x]\n"
    for number in range(1, 40):
        bomb += f"a{number}: &a{number} [*a{number - 1}, *a{number - 1}]\n"
    path = from_a_stranger(finished, tmp_path, lambda text: text + bomb)
    start = time.monotonic()
    with pytest.raises(AugeanError, match=r"config\.yaml: .* more than 20,000 values"):
        load(path)
    assert time.monotonic() - start < 60


def test_a_config_that_lists_a_file_without_end_is_refused(
    finished: RunOutcome, tmp_path: Path
) -> None:
    listed = "code_files: [/dev/zero]"
    path = from_a_stranger(finished, tmp_path, lambda text: text.replace("code_files: []", listed))
    with pytest.raises(AugeanError, match="code_files: cannot read /dev/zero"):
        read_test_set(load(path, finished.address.path.parents[2] / "data"))


def test_a_run_that_has_no_good_weights_is_refused(
    finished: RunOutcome, tmp_path: Path, tiny: Callable[..., Config]
) -> None:
    path = shutil.copytree(
        finished.address.path, tmp_path / "x" / "runs" / finished.address.path.name
    )
    content = bytearray((path / "best.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "best.pt").write_bytes(content)
    with pytest.raises(AugeanError, match=r"best\.pt: was altered or damaged after the run"):
        load(path)
    (path / "best.pt").unlink()
    with pytest.raises(AugeanError, match=r"best\.pt: is not here; was it removed by augean clean"):
        load(path)
    (path / "summary.json").unlink()
    with pytest.raises(
        AugeanError, match="is interrupted, not finished; give its training command again"
    ):
        load(path)
    (path / "failure.txt").write_text("no luck")
    with pytest.raises(AugeanError, match="is failed, not finished"):
        load(path)
    diverged = execute(tiny("optimizer.lr=1e18", "model=vgg_a", "schedule=constant"))
    with pytest.raises(AugeanError, match="diverged, so it has no weights"):
        load(diverged.address.path)


def test_the_folder_that_is_advised_is_one_word_of_a_shell(
    finished: RunOutcome, tmp_path: Path
) -> None:
    folder = tmp_path / "other place"
    path = shutil.copytree(
        finished.address.path, runs_dir(folder / "outputs") / finished.address.path.name
    )
    (path / "best.pt").unlink()
    with pytest.raises(AugeanError) as caught:
        load(path)
    advice = str(caught.value).splitlines()[0]
    assert shlex.split(advice)[-2:] == ["--outputs", f"{folder / 'retrained'}:"]


def test_a_run_that_came_without_weights_is_trained_once_more_beside_its_result(
    finished: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "runs.tar.xz"
    pack(finished.address.outputs, archive)
    unpack(archive, tmp_path / "outputs")
    path = runs_dir(tmp_path / "outputs") / finished.address.path.name
    before = (path / "summary.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AugeanError, match=r"is not here; was it removed by augean clean") as no:
        load(path, tmp_path)
    command = str(no.value).splitlines()[-1].strip()
    words = [word.replace("$PWD", str(tmp_path)) for word in shlex.split(command)]
    assert words[:2] == ["augean", "train"]
    done = commands.augean(*words[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = runs_dir(tmp_path / "retrained") / path.name
    assert load(again, tmp_path).summary.test_accuracy == finished.summary.test_accuracy
    assert (path / "summary.json").read_bytes() == before


def test_a_run_that_began_from_another_is_trained_once_more_at_its_address(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = execute(tiny("trainer.epochs=1"))
    second = execute(tiny("trainer.epochs=1", f"model.weights=run:{first.address.id}", "seed=1"))
    weights = (second.address.path / "best.pt").read_bytes()
    (second.address.path / "best.pt").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AugeanError, match="is not here") as caught:
        load(second.address.path, tmp_path)
    words = shlex.split(str(caught.value).splitlines()[-1].replace("$PWD", str(tmp_path)))
    done = commands.augean(*words[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = runs_dir(tmp_path / "retrained") / second.address.path.name
    assert (again / "best.pt").read_bytes() == weights


def test_a_test_set_that_has_changed_is_not_taken_for_the_runs(
    tmp_path: Path, tiny: Callable[..., Config]
) -> None:
    for part in ("train", "test"):
        for label, name in enumerate("ab"):
            folder = tmp_path / "data" / "photos" / part / name
            folder.mkdir(parents=True)
            for index in range(20):
                Image.fromarray(numpy.full((16, 16, 3), 100 * label + index, numpy.uint8)).save(
                    folder / f"{index}.png"
                )
    kind = [
        "dataset=image_folder",
        "dataset.name=photos",
        "dataset.num_val=8",
        "~dataset.arguments",
    ]
    overrides = [
        item
        for item in TINY
        if not item.startswith("dataset.arg") and item.split("=")[0] != "dataset"
    ]
    run = execute(
        compose(
            [
                *kind[:2],
                *overrides,
                kind[2],
                f"runtime.outputs={tmp_path}/o",
                f"runtime.data={tmp_path}/data",
            ]
        )
    )
    path = run.address.path
    assert read_test_set(load(path, tmp_path / "data"))[1].tolist() == [0] * 20 + [1] * 20
    # Elsewhere, the default folder does not hold the data, and the summary knows the one that does.
    (tmp_path / "there").mkdir()
    done = commands.augean("evaluate", str(path), "--device", "cpu", cwd=tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert f"Data: {tmp_path}/data, as the run has it recorded" in done.stdout
    (tmp_path / "data" / "photos" / "test" / "a" / "0.png").unlink()
    from augean.datasets import image_folder

    image_folder.process_contents.clear()
    with pytest.raises(
        AugeanError, match=r"has changed since run \w+ \(the data of photos has changed\)"
    ):
        read_test_set(load(path, tmp_path / "data"))
    # The command names the folder by its own option.
    image_folder.process_contents.clear()
    done = commands.augean(
        "evaluate", str(path), "--data", str(tmp_path / "elsewhere"), "--device", "cpu"
    )
    assert done.returncode == 1
    assert "or set --data <the folder that contains photos>" in done.stderr


def test_own_loops_and_own_code(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    with augean.run(config) as run:
        torch.manual_seed(0)
        network = build_model(config, 4)
        run.finish(test_accuracy=0.5, weights=network.state_dict())
    images = build_source(config).load().test_images
    found = load(run.address.path, tmp_path / "data")
    torch.testing.assert_close(found.score(images), run_network(network, found, images))
    assert len(read_test_set(found)[1]) == 60

    with augean.run({"seed": 0}, outputs=str(tmp_path)) as plain:
        plain.finish(test_accuracy=0.5, weights={})
    with pytest.raises(
        AugeanError,
        match=r"config of test_after_training\.py does not describe a network that Augean",
    ):
        load(plain.address.path)
    with augean.run({"seed": 1}, outputs=str(tmp_path)) as plain:
        plain.finish(test_accuracy=0.5)
    with pytest.raises(AugeanError, match=r"has no best\.pt.* passes its weights to run\.finish"):
        load(plain.address.path)

    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "examples" / "patches")])
    folder = ROOT / "examples" / "patches" / "conf"
    small = [
        "trainer.epochs=1",
        "dataset.num_train=64",
        f"runtime.outputs={tmp_path}",
        "runtime.progress=none",
    ]
    own = compose(
        [f"hydra.searchpath=[file://{ROOT / 'conf'}]", *small], name="base", folder=folder
    )
    path = execute(own).address.path
    with pytest.raises(AugeanError, match=r"of this command the option --allow PACKAGE"):
        load(path)
    assert load_model(path, data="data", device="cpu", allowed_packages=["patches"]).classes == (
        "china",
        "flower",
    )


def run_network(network: torch.nn.Module, run: TrainedModel, images: Any) -> torch.Tensor:
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (run.config.dataset.mean, run.config.dataset.std)
    )
    with torch.no_grad():
        logits: torch.Tensor = network.eval()(
            (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
        )
    return logits


def test_an_unfinished_run_is_named_by_its_state(tiny: Callable[..., Config]) -> None:
    address = find_address(tiny())
    with pytest.raises(AugeanError, match="is missing, not finished"):
        load(address.path)
