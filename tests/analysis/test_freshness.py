"""Outdated or not: what a check of finished runs says after edits of their code and data."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from augean.analysis.freshness import DATASETS, Freshness, FreshnessCheck
from augean.config.code_digest import file_code, file_digest
from augean.config.run_id import CORE
from augean.datasets import image_folder
from augean.datasets.digits import Digits
from augean.datasets.image_folder import ImageFolder
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary
from augean.store.weights_file import weights_of_file, weights_of_run
from fake_runs import sign, write_run

DIGITS: Mapping[str, Any] = {
    "dataset._target_": f"{DATASETS}digits.Digits",
    "dataset.name": "digits",
    "dataset.image_size": 16,
}
PHOTOS: Mapping[str, Any] = {
    "dataset._target_": f"{DATASETS}image_folder.ImageFolder",
    "dataset.name": "photos",
    "dataset.image_size": 8,
}
PLACES = {"start": "..", "data": "../data", "cache": "../data/.augean"}


def summary(config: Mapping[str, Any] = DIGITS, **entries: Any) -> RunSummary:
    known = {"core": CORE, "data_digest": Digits.content, "code_digests": {}, "places": PLACES}
    return RunSummary(
        id="0" * 10, status=RunState.FINISHED, config=dict(config), **{**known, **entries}
    )


def check(project: Path, run: RunSummary) -> Freshness:
    """What a command says that is given anywhere."""
    return FreshnessCheck(project / "outputs").check(run)


@pytest.fixture
def code(tmp_path: Path) -> RunSummary:
    """A run that was trained with a package of two files and a settings file."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "act.py").write_text("from mine.slope import SLOPE\n\nclass Act: pass\n")
    (package / "slope.py").write_text("SLOPE = 0.1\n")
    (tmp_path / "settings.json").write_text("{}")
    files = dict(file_code(package / "act.py", tmp_path).files)
    files["settings.json"] = file_digest(tmp_path / "settings.json")
    config = {**DIGITS, "activation._target_": "mine.act.Act", "code_files": ["settings.json"]}
    return summary(config, code_digests=files)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("mine/act.py", None, Freshness("no")),
        ("mine/slope.py", "# of the paper\nSLOPE = 0.1\n", Freshness("no")),
        ("mine/slope.py", "SLOPE = 0.2\n", Freshness("yes", "mine/slope.py has changed")),
        ("mine/slope.py", "SLOPE =\n", Freshness("yes", "mine/slope.py has changed")),
        ("mine/__init__.py", "WIDTH = 8\n", Freshness("yes", "mine/__init__.py has code now")),
        ("settings.json", "{ }", Freshness("yes", "settings.json has changed")),
        ("mine/unused.py", "X = 1\n", Freshness("no")),
    ],
)
def test_an_edit_that_changes_the_code_makes_a_run_outdated(
    tmp_path: Path, code: RunSummary, file: str, text: str | None, expected: Freshness
) -> None:
    if text is not None:
        (tmp_path / file).write_text(text)
    assert check(tmp_path, code) == expected


def test_code_that_is_gone_and_code_that_is_elsewhere_are_told_apart(
    tmp_path: Path, code: RunSummary
) -> None:
    (tmp_path / "mine" / "slope.py").unlink()
    assert check(tmp_path, code) == Freshness("yes", "mine/slope.py is gone")
    (tmp_path / "mine" / "act.py").unlink()
    (tmp_path / "settings.json").unlink()
    freshness = check(tmp_path, code)
    assert freshness.outdated == "unknown"
    assert "mine/act.py is not here" in freshness.reason


def test_a_project_that_is_moved_as_a_whole_finds_its_code(
    tmp_path: Path, code: RunSummary
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "mine").rename(moved / "mine")
    (tmp_path / "settings.json").rename(moved / "settings.json")
    assert check(moved, code) == Freshness("no")


def test_code_on_pythons_path_is_found_without_being_run(
    tmp_path: Path, code: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    package = tmp_path / "mine"
    (tmp_path / "settings.json").rename(project / "settings.json")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert check(project, code) == Freshness("no")
    # It may be another project's package of that name.
    (package / "act.py").write_text("raise SystemExit\n")
    freshness = check(project, code)
    assert freshness.outdated == "unknown"
    assert "mine/act.py is here, but it is not known to be that of the run" in freshness.reason


def test_code_on_pythons_path_below_the_runs_folder_is_its_own(
    tmp_path: Path, code: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    package = (tmp_path / "mine").rename(tmp_path / "src" / "mine")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    assert check(tmp_path, code) == Freshness("no")
    (package / "act.py").write_text("class Act: pass\n")
    assert check(tmp_path, code) == Freshness("yes", "mine/act.py has changed")


@pytest.mark.parametrize("is_unpacked", [False, True])
@pytest.mark.parametrize("file", ["mine/act.py", "start.pt", "data/photos/train/a/0.png"])
def test_a_file_of_another_project_never_makes_a_run_outdated(
    tmp_path: Path,
    code: RunSummary,
    file: str,
    is_unpacked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = write_photos(tmp_path)
    (tmp_path / "start.pt").write_bytes(b"weights")
    digest = weights_of_file("start.pt", tmp_path / "start.pt").digest
    run = replace(
        code,
        config={**code.config, **PHOTOS, "model.weights": "start.pt"},
        data_digest=photos.data_digest,
        weights_digest=digest,
    )
    if is_unpacked:
        # What the run recorded leads here from its own folder of outputs, and so does it from ours.
        path = runs_dir(tmp_path / "outputs") / f"net-{run.id}"
        path.mkdir(parents=True)
        (path / "unpacked.txt").write_text("")
    else:
        monkeypatch.chdir(tmp_path)
        run = replace(run, places=None)
    assert check(tmp_path, run) == Freshness("no")
    if file.endswith(".png"):
        Image.fromarray(numpy.full((8, 8, 3), 7, numpy.uint8)).save(tmp_path / file)
    else:
        (tmp_path / file).write_bytes(b"OTHER = 1\n")
    assert check(tmp_path, run).outdated == "unknown"


def test_each_file_is_read_once_for_all_runs(tmp_path: Path, code: RunSummary) -> None:
    one_check = FreshnessCheck(tmp_path / "outputs")
    assert one_check.check(code) == Freshness("no")
    (tmp_path / "mine" / "slope.py").write_text("SLOPE = 0.2\n")
    assert one_check.check(code) == Freshness("no")
    assert check(tmp_path, code).outdated == "yes"


def test_other_mathematics_of_augean_makes_a_run_outdated(tmp_path: Path) -> None:
    freshness = check(tmp_path, summary(core=CORE - 1))
    assert freshness.outdated == "yes"
    assert f"core {CORE - 1}, now {CORE}" in freshness.reason


def write_photos(tmp_path: Path) -> RunSummary:
    """A folder of images, and a run that was trained on it."""
    for part in ("train", "test"):
        for label, name in enumerate("ab"):
            folder = tmp_path / "data" / "photos" / part / name
            folder.mkdir(parents=True)
            pixels = numpy.full((8, 8, 3), 100 * label, numpy.uint8)
            Image.fromarray(pixels).save(folder / "0.png")
    image_folder.process_contents.clear()
    data = tmp_path / "data"
    source = ImageFolder(name="photos", root=data, cache=data / ".augean", image_size=8)
    return summary(PHOTOS, data_digest=source.digest())


def test_an_image_that_is_replaced_makes_a_run_outdated_and_a_touched_one_does_not(
    tmp_path: Path,
) -> None:
    run = write_photos(tmp_path)
    assert check(tmp_path, run) == Freshness("no")
    image = tmp_path / "data" / "photos" / "train" / "a" / "0.png"
    os.utime(image, (1, 1))
    assert check(tmp_path, run) == Freshness("no")
    Image.fromarray(numpy.full((8, 8, 3), 7, numpy.uint8)).save(image)
    assert check(tmp_path, run) == Freshness("yes", "the data of photos has changed")


def test_images_too_large_to_read_for_a_report_leave_it_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_photos(tmp_path)
    monkeypatch.setattr(image_folder, "QUICK_BYTES", 10)
    assert check(tmp_path, run) == Freshness("no")  # the cache knows it
    os.utime(tmp_path / "data" / "photos" / "train" / "a" / "0.png", (1, 1))
    assert check(tmp_path, run).outdated == "unknown"


@pytest.mark.parametrize(
    ("config", "entries", "reason"),
    [
        (PHOTOS, {}, "the data of photos is not here"),
        ({**DIGITS, "dataset._target_": "mine.Data"}, {}, "is read by own code, mine.Data"),
        (DIGITS, {"data_digest": None}, "recorded no digest of its data"),
        (
            {**DIGITS, "model._target_": "mine.Net"},
            {"code_digests": None},
            "no digests of its code",
        ),
        # A stranger's summary.
        ({}, {}, "the data of None"),
        ({**DIGITS, "dataset.image_size": [8]}, {}, "cannot be read"),
        ({**DIGITS, "dataset.arguments.x": 1}, {}, "cannot be read"),
        ({**DIGITS, "dataset._target_": f"{DATASETS}base.Source"}, {}, "cannot be read"),
        (DIGITS, {"code_digests": {"../\0": "x", "/dev/zero": "y"}}, "is not here"),
    ],
)
def test_what_is_not_here_or_was_not_recorded_is_unknown(
    tmp_path: Path, config: Mapping[str, Any], entries: dict[str, Any], reason: str
) -> None:
    freshness = check(tmp_path, summary(config, **entries))
    assert freshness.outdated == "unknown"
    assert reason in freshness.reason


def test_weights_that_are_replaced_make_a_run_outdated(tmp_path: Path) -> None:
    file = tmp_path / "start.pt"
    file.write_bytes(b"weights")
    digests = weights_of_file("start.pt", file).digests
    config = {**DIGITS, "model.weights": "start.pt"}
    # Either of the two: with the last layer of the file, or with one made anew.
    runs = [summary(config, weights_digest=digest) for digest in digests]
    for run in runs:
        assert check(tmp_path, run) == Freshness("no")
    file.write_bytes(b"other weights")
    for run in runs:
        assert check(tmp_path, run) == Freshness("yes", "the weights start.pt have changed")
    file.unlink()
    assert check(tmp_path, runs[0]) == Freshness("unknown", "the weights start.pt are not here")


def test_weights_of_a_run_are_compared_by_its_summary(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    first = runs_dir(outputs) / str(write_run(outputs)["run"])
    (first / "best.pt").write_bytes(b"weights")
    sign(first)
    name = f"run:{first.name}"
    digest = weights_of_run(name, outputs).digest
    (first / "best.pt").unlink()
    run = summary({**DIGITS, "model.weights": name}, weights_digest=digest)
    assert check(tmp_path, run) == Freshness("no")
    changed = replace(run, weights_digest="0" * 16)
    assert check(tmp_path, changed) == Freshness("yes", f"the weights {name} have changed")
    shutil.rmtree(first)
    reason = f"the run of model.weights={name} is not here, or damaged"
    assert check(tmp_path, run) == Freshness("unknown", reason)


def test_weights_that_torchvision_publishes_never_change(tmp_path: Path) -> None:
    run = summary({**DIGITS, "model.weights": "DEFAULT"}, weights_digest="0" * 16)
    assert check(tmp_path, run) == Freshness("no")


def test_a_custom_loop_is_compared_by_its_files_alone(tmp_path: Path) -> None:
    loop = tmp_path / "scripts" / "loop.py"
    loop.parent.mkdir()
    loop.write_text("RATE = 0.1\n")
    files = dict(file_code(loop, loop.parent).files)
    entries = {"core": None, "data_digest": None, "code_digests": files, "loop": "loop.py"}
    run = summary({"seed": 0}, **entries, places={**PLACES, "loop": "../scripts"})
    assert check(tmp_path, run) == Freshness("no")
    loop.write_text("RATE = 0.2\n")
    assert check(tmp_path, run) == Freshness("yes", "loop.py has changed")
