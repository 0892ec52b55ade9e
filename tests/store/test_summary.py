"""The summary of a run: written and read back equal, old files read, and nothing of a wrong type
believed.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from augean.errors import AugeanError
from augean.store.run_directory import run_state, runs_dir
from augean.store.summary import (
    Divergence,
    RunState,
    RunSummary,
    read_summary,
    write_summary,
)
from fake_runs import forge, write_run

CUSTOM = RunSummary(
    schema=1,
    id="0123456789",
    status=RunState.FINISHED,
    config={"lr": 0.1, "sizes": (3, 4), "seed": 0},
    epochs=2,
    selected_epoch=2,
    val_accuracy=0.5,
    test_accuracy=1.0,
    seconds=3,
    loop="toy.py",
    loop_digest="abc",
    facts={"temperature": 0.7, "notes": ["a", None]},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a finished run."""
    job = write_run(tmp_path)
    return runs_dir(tmp_path) / str(job["run"])


@pytest.mark.parametrize(
    "summary",
    [
        CUSTOM,
        replace(
            CUSTOM,
            status=RunState.DIVERGED,
            diverged=Divergence(epoch=1, step=None, last_loss=2.5),
            test_accuracy=None,
            loop=None,
        ),
        RunSummary(id="1", status=RunState.FINISHED, config={}),
    ],
)
def test_a_summary_written_and_read_is_equal(tmp_path: Path, summary: RunSummary) -> None:
    (tmp_path / "metrics.csv").write_text("epoch\n")
    written = write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == written
    assert set(written.files) == {"metrics.csv"}
    assert written.config == {**summary.config, **({"sizes": [3, 4]} if summary.config else {})}
    assert replace(written, files={}, config=summary.config) == summary


def test_facts_of_a_custom_loop_lie_flat_and_what_it_lacks_is_left_out(tmp_path: Path) -> None:
    write_summary(tmp_path, CUSTOM)
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["temperature"] == 0.7
    assert content["test_accuracy"] == 1.0
    assert not {"facts", "device", "core", "test_loss"} & content.keys()


def test_augeans_own_loop_writes_every_entry(path: Path) -> None:
    content = json.loads((path / "summary.json").read_text())
    assert content["peak_memory_mb"] is None
    assert not {"facts", "loop", "loop_digest"} & content.keys()


def test_there_is_no_summary_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    assert read_summary(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_accuracy": "high"}, "test_accuracy='high': must be a number"),
        ({"test_accuracy": 93.0}, "test_accuracy=93.0: must be a fraction from 0 to 1"),
        ({"val_accuracy": float("nan")}, "val_accuracy=nan: must be a finite number"),
        ({"seconds": float("inf")}, "seconds=inf: must be a finite number"),
        ({"seconds": 10**400}, "must be a finite number"),
        ({"seconds": 1e300}, "seconds=1e\\+300: must be a number from 0 to 1e\\+15"),
        ({"train_seconds": -1.0}, "train_seconds=-1.0: must be a number from 0"),
        ({"parameters": 10**30}, "must be a whole number up to"),
        ({"config": {"seed": "x"}}, "config.seed='x': must be a number"),
        ({"config": {"seed": -1}}, "config.seed=-1: must be a whole number"),
        ({"config": {"seed": float("inf")}}, "config=.*: must be a finite number"),
        ({"config": {"lr": 10**400}}, "config=.*: must be a finite number"),
        ({"num_train": 1.5}, "num_train=1.5: must be a whole number, 0 or more"),
        ({"epochs": -1}, "epochs=-1: must be a whole number"),
        ({"epochs": True}, "epochs=True: must be a number"),
        ({"device": 3}, "device=3: must be text"),
        ({"host": "\udcff"}, "host='\\\\udcff': must be text in valid Unicode"),
        ({"config": {"name": "\udcff"}}, "config=.*: must be text in valid Unicode"),
        ({"config": {"lr": float("nan")}}, "config=.*: must be a finite number"),
        ({"config": [1]}, "not the summary of a run"),
        ({"versions": {"torch": 2.14}}, "versions=.*: must be text"),
        ({"files": {"best.pt": None}}, "files=.*: must be text"),
        ({"status": "interrupted"}, "status='interrupted': must be finished or diverged"),
        ({"status": None}, "status: is absent; not the summary of a run"),
        ({"status": "diverged"}, "diverged: must be there if and only if status is diverged"),
        ({"diverged": {"step": 3}}, "diverged=.*: must be a number"),
        ({"mine": [float("inf")]}, r"mine=\[inf\]: must be a finite number"),
        ({"\udcff": 1}, r"\\udcff=1: must be text in valid Unicode"),
    ],
)
def test_a_signed_summary_with_a_wrong_value_is_refused_by_its_key(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    forge(path, **changes)
    with pytest.raises(AugeanError, match=message) as caught:
        read_summary(path)
    assert str(path / "summary.json") in str(caught.value)
    state = run_state(path.parents[1], path, path.name[-10:])
    assert state == RunState.INTERRUPTED


def test_a_deeply_nested_summary_is_refused(path: Path) -> None:
    content = json.loads((path / "summary.json").read_text())
    text = json.dumps(content)[:-1] + ', "deep": ' + "[" * 10**5 + "]" * 10**5 + "}"
    (path / "summary.json").write_text(text)
    with pytest.raises(AugeanError, match="no valid JSON"):
        read_summary(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"test_accuracy": 93.0},
        {"seconds": float("nan")},
        {"config": {"path": Path("x")}},
        {"device": "\udcff"},
    ],
)
def test_what_could_not_be_read_back_is_never_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(AugeanError, match=next(iter(changes))):
        write_summary(tmp_path, replace(CUSTOM, **changes))
    assert not (tmp_path / "summary.json").exists()


def test_a_summary_of_another_run_is_refused(path: Path) -> None:
    summary = read_summary(path, path.name[-10:])
    assert summary is not None
    with pytest.raises(AugeanError, match=f"is the summary of run {summary.id}, not of {'0' * 10}"):
        read_summary(path, "0" * 10)


def test_an_altered_summary_is_refused(path: Path) -> None:
    file = path / "summary.json"
    file.write_text(file.read_text().replace('"epochs": 10', '"epochs": 11'))
    with pytest.raises(AugeanError, match="was altered or damaged"):
        read_summary(path)


def test_only_finished_and_diverged_runs_are_completed() -> None:
    completed = [state for state in RunState if state.is_completed]
    assert completed == [RunState.FINISHED, RunState.DIVERGED]
