"""Sweep records: how older ones are read, and which trial wins a study."""

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from augean.analysis.load import scan
from augean.errors import AugeanError
from augean.monitor.sweep_status import StatusReader
from augean.store.files import json_digest
from augean.store.record_identity import record_name
from augean.store.sweep_record import (
    SweepJob,
    SweepRecord,
    best_trial,
    read_record,
    read_records,
)
from conftest import ROOT
from fake_runs import trial_job

RESULTS = ROOT / "results" / "reduced" / "runs.tar.xz"
RECORD = SweepRecord(
    name="widths",
    title="Widths",
    command="python train.py -cn widths",
    created="2026-01-01T00:00:00+00:00",
    jobs=[SweepJob(id="0123456789", run="x-0123456789", row="16", seed=0)],
    row_keys=["width.channels", "optimizer.name"],
)


def write_content(folder: Path, **changes: Any) -> Path:
    """Write the content of `RECORD` with changes; a key with the value None is left out."""
    path = RECORD.write(folder)
    content = json.loads(path.read_text())
    content.update(changes)
    content = {key: value for key, value in content.items() if value is not None}
    del content["sha256"]
    content["sha256"] = json_digest(content)
    path.write_text(json.dumps(content))
    return path


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(RECORD.write(tmp_path)) == RECORD


@pytest.mark.parametrize(
    "changes",
    [
        {"jobs": [SweepJob(id="0123456789", run="x", row=False, seed=0)]},  # type: ignore[arg-type]
        {"jobs": [SweepJob(id="0123456789", run="x", row="\ud800", seed=0)]},
        {"reference": {8: {}, 10: {}}},
        {"note": {1}},
    ],
)
def test_a_record_that_no_report_would_read_is_not_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(AugeanError, match="sweep record widths"):
        replace(RECORD, **changes).write(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("width.channels", ["width.channels"]),
        ("width.channels, optimizer.name", ["width.channels", "optimizer.name"]),
        ("", []),
    ],
)
def test_older_records_have_their_row_keys_in_one_text(
    tmp_path: Path, text: str, keys: list[str]
) -> None:
    record = read_record(write_content(tmp_path, row_keys=None, row_key=text))
    assert record.row_keys == keys


def test_a_copy_of_a_record_is_a_problem_and_a_hidden_file_is_nothing(tmp_path: Path) -> None:
    path = RECORD.write(tmp_path)
    copy = path.with_name("widths (copy).json")
    copy.write_bytes(path.read_bytes())
    path.with_name("._widths.json").write_bytes(b"\x00\x05\x16\x07")
    reader = StatusReader(tmp_path, by_lock=False)
    contents = scan(tmp_path)
    (record,), (problem,) = read_records(tmp_path)
    assert record.name == "widths"
    assert problem.startswith(f"{copy}: ")
    assert [record.name for record in reader.read_records()] == ["widths"]
    assert reader.problems == [problem]
    assert [sweep.record.name for sweep in contents.sweeps] == ["widths"]
    assert [item.path for item in contents.problems] == ["sweeps/widths (copy).json"]


def test_names_in_other_alphabets_and_long_ones_do_not_share_a_record() -> None:
    names = ["активация", "оптимизат", "x" * 120 + "a", "x" * 120 + "b", "a b", "table1"]
    records = [record_name(name) for name in names]
    assert len(set(records)) == len(names)
    # Names as they were stay, so that their records are found.
    assert records[-2:] == ["a_b", "table1"]
    assert all(re.fullmatch("[A-Za-z0-9_.+-]{1,128}", name) for name in records)


@pytest.mark.parametrize(
    ("written", "direction"),
    [(None, "maximize"), ("maximize", "maximize"), ("minimize", "minimize")],
)
def test_records_of_every_direction_are_read(
    tmp_path: Path, written: str | None, direction: str
) -> None:
    assert read_record(write_content(tmp_path, direction=written)).direction == direction


def test_the_committed_records_are_read(tmp_path: Path) -> None:
    records = []
    with tarfile.open(RESULTS) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).parent.name == "sweeps":
                source = archive.extractfile(member)
                assert source is not None
                path = tmp_path / Path(member.name).name
                path.write_bytes(source.read())
                records.append(read_record(path))
    assert len(records) > 5
    assert any(record.row_keys == ["activation.name"] for record in records)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pile"}, "kind='pile'"),
        ({"direction": "up"}, "direction='up'"),
        ({"row_keys": "width.channels"}, "row_keys='width.channels': must be a list"),
        ({"num_trials": "many"}, "num_trials='many': must be a number"),
        ({"jobs": [{"id": 7, "run": "x", "row": "a", "seed": 0}]}, "id=7 of a job"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_values_of_a_wrong_type_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(AugeanError, match=message):
        read_record(write_content(tmp_path, **changes))


def test_the_winner_is_the_earliest_complete_trial_of_the_best_score() -> None:
    trials = [
        trial_job(0, 0.99, "pruned"),
        trial_job(5, 0.0, "fail"),
        trial_job(6, None, "running"),
        trial_job(4, 0.9),
        trial_job(1, 0.9),
        trial_job(2, 0.5),
        trial_job(3, 0.1),
        trial_job(7, 0.1),
    ]
    best = best_trial(trials)
    assert best is not None
    assert best.trial == 1
    assert best_trial(trials[:3]) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "\udcff"}, "title='.udcff': must be text in valid Unicode"),
        ({"note": "\udcff"}, "note=.*: must be text in valid Unicode"),
        ({"space": ["lr"]}, "space=.*: must be a mapping"),
        ({"space": {"lr": 1}}, "space=.*: must be text"),
        ({"num_trials": -1}, "num_trials=-1: must be a whole number"),
        ({"num_trials": True}, "num_trials=True: must be a number"),
        ({"winner": "lr=1"}, "winner='lr=1': must be a list of texts"),
        ({"design": [1]}, "design=.*: must be a mapping"),
        ({"reference": {"a": {"seconds": float("inf")}}}, "reference=.*: must be a finite number"),
        ({"kind": "shop"}, "kind='shop': must be one of grid, study"),
    ],
)
def test_a_signed_record_with_a_wrong_value_is_refused_by_its_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_content(tmp_path, **changes)
    with pytest.raises(AugeanError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "../../etc"}, "run='../../etc' of a job: must be the name of a directory"),
        ({"run": "a\0b"}, "run=.* of a job: must be the name of a directory"),
        ({"id": "x" * 300}, "id=.* of a job: must be the name of a directory"),
        ({"id": 3}, "id=3 of a job: must be text"),
        ({"row": "\udcff"}, "row=.* of a job: must be text in valid Unicode"),
        ({"seed": float("inf")}, "seed=inf of a job: must be a finite number"),
        ({"seed": True}, "seed=True of a job: must be a number"),
        ({"score": float("nan")}, "score=nan of a job: must be a finite number"),
        ({"values": 3}, "values=3 of a job: must be a mapping"),
    ],
)
def test_a_signed_job_with_a_wrong_value_is_refused_by_its_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    job = {"id": "0123456789", "run": "x-0123456789", "row": "16", "seed": 0}
    path = write_content(tmp_path, jobs=[{**job, **changes}])
    with pytest.raises(AugeanError, match=message):
        read_record(path)
