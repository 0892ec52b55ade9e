"""The JSON document of status, settle and report: one schema, and nothing else in the pipe."""

import json
from pathlib import Path
from typing import Any

import pytest

from augean.analysis.comparison import summarise
from augean.analysis.load import scan
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_progress import RunProgress
from augean.store.summary import RunState
from commands import augean
from conftest import ROOT
from fake_runs import write_record, write_run

COMMANDS = (["status"], ["report"], ["settle", "invented", "--dry-run"])
NAME = "invented"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table of two rows, and one of every state beside it."""
    folder = tmp_path_factory.mktemp("outputs")
    jobs = []
    for name, mean in (("relu", 0.90), ("elu", 0.93)):
        for seed in range(3):
            accuracy = mean + 0.001 * seed
            jobs.append(write_run(folder, accuracy=accuracy, seed=seed, activation__name=name))
    write_record(folder, NAME, jobs, baseline="relu")
    states = []
    for seed, state in enumerate(("diverged", "interrupted", "failed", "missing"), start=10):
        states.append(write_run(folder, state=state, seed=seed))
    write_record(folder, "states", states)
    return folder


def read(outputs: Path, *words: str) -> dict[str, Any]:
    """Return the document of a command, which is all that it prints."""
    done = augean(*words, "--json", "--outputs", str(outputs))
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def shape(value: Any) -> Any:
    """Return the keys of a document, level by level."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key != "difference"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def test_the_three_commands_print_one_schema(outputs: Path) -> None:
    shapes = [shape(read(outputs, *words)) for words in COMMANDS]
    for sweep in (item["sweeps"][0] for item in shapes):
        for key in ("remarks", "design"):  # lists and mappings that may be empty
            del sweep[key]
    assert shapes[0] == shapes[1] == shapes[2]


def test_every_key_of_the_document_is_documented(outputs: Path) -> None:
    page = (ROOT / "docs" / "reference" / "json.md").read_text()
    content = read(outputs, "report")
    entries = [content]
    for sweep in content["sweeps"]:
        entries += [sweep, *sweep["rows"], *sweep["runs"]]
        entries += [row["difference"] for row in sweep["rows"] if row["difference"]]
    for key in {key for entry in entries for key in entry}:
        assert f"`{key}`" in page, key


def test_rows_have_the_numbers_and_verdicts_of_the_table(outputs: Path) -> None:
    sweep = next(item for item in scan(outputs).sweeps if item.record.name == NAME)
    table = {row.label: row for row in summarise(sweep).rows}
    document = read(outputs, "report")
    (entry,) = (item for item in document["sweeps"] if item["name"] == NAME)
    for row in entry["rows"]:
        own = table[row["row"]]
        assert row["n"] == own.accuracy.n
        assert 100 * row["test_accuracy"] == pytest.approx(own.accuracy.mean)
        assert 100 * row["sd"] == pytest.approx(own.accuracy.sd)
        assert 100 * row["half_width_95"] == pytest.approx(own.accuracy.half_width)
        assert row["seconds"] == own.seconds
    differences = {row["row"]: row["difference"] for row in entry["rows"]}
    assert differences["relu"] is None
    assert differences["elu"]["verdict"] == "better"
    assert 100 * differences["elu"]["low"] == pytest.approx(table["elu"].difference.low)


def test_a_seed_with_several_runs_counts_once_as_in_the_report(tmp_path: Path) -> None:
    jobs = []
    for rate, mean in ((0.1, 0.9), (0.01, 0.5)):
        for seed in range(3):
            accuracy = mean + 0.001 * seed
            jobs.append(
                write_run(tmp_path, row="sgd", seed=seed, accuracy=accuracy, optimizer__lr=rate)
            )
    jobs.append(write_run(tmp_path, row="sgd", seed=3, accuracy=0.903, device="NVIDIA H200"))
    write_record(tmp_path, "one", jobs)
    (status,), (report,) = (read(tmp_path, word)["sweeps"] for word in ("status", "report"))
    (row,) = summarise(scan(tmp_path).sweeps[0]).rows
    for (entry,) in (status["rows"], report["rows"]):
        assert entry["n"] == row.accuracy.n == 4
        assert entry["test_accuracy"] == pytest.approx(row.accuracy.mean / 100)
        assert entry["sd"] == pytest.approx(row.accuracy.sd / 100)
    assert any(remark.startswith("Mixed device") for remark in report["remarks"])


def test_states_failures_and_progress_are_in_the_document(outputs: Path) -> None:
    document = read(outputs, "status", "states")
    (sweep,) = document["sweeps"]
    running = {**dict.fromkeys(map(str, RunState), 0), "diverged": 1, "failed": 1}
    assert sweep["states"] == {**running, "interrupted": 1, "missing": 1}
    assert not sweep["complete"]
    (failed,) = (run for run in sweep["runs"] if run["state"] == "failed")
    assert failed["error"] == "out of memory"
    (interrupted,) = (run for run in sweep["runs"] if run["state"] == "interrupted")
    RunProgress(epoch=4, epochs=12, fraction=0.3, seconds_left=200.0).write(
        runs_dir(outputs) / interrupted["run"]
    )
    with hold_lock(outputs, interrupted["id"], wait=False):
        (sweep,) = read(outputs, "status", "states")["sweeps"]
    (run,) = (run for run in sweep["runs"] if run["state"] == "running")
    assert (run["epoch"], run["epochs"], run["seconds_left"]) == (4, 12, 200.0)


def test_a_study_says_how_many_trials_are_done_and_which_is_best(tmp_path: Path) -> None:
    jobs = []
    for number, (state, score) in enumerate((("complete", 0.8), ("complete", 0.9), ("fail", None))):
        kind = "failed" if state == "fail" else "finished"
        job = write_run(tmp_path, state=kind, optimizer__lr=0.1 * (number + 1))
        jobs.append(job | {"trial": number, "state": state, "score": score})
    write_record(tmp_path, "study", jobs, kind="study", num_trials=4, timeout="1h")
    (sweep,) = read(tmp_path, "status")["sweeps"]
    assert sweep["study"]["best"]["trial"] == 1
    assert (sweep["study"]["done"], sweep["study"]["num_trials"]) == (2, 4)
    assert (sweep["study"]["timeout"], sweep["study"]["confirm"]) == ("1h", {})
    assert not sweep["complete"]
    assert [run["trial"] for run in sweep["runs"]] == [0, 1, 2]


def test_nothing_launched_is_an_empty_list(tmp_path: Path) -> None:
    assert read(tmp_path, "status")["sweeps"] == []


def test_what_the_planning_of_a_grid_says_is_no_part_of_the_document(tmp_path: Path) -> None:
    # In a folder of its own, as the default of num_val is said once a process.
    data = ["dataset=digits", "dataset.num_val=null", f"runtime.data={tmp_path}"]
    grid = ["-m", *data, "width=w8", "seed=0,1"]
    done = augean("status", *grid, "--json", "--outputs", str(tmp_path))
    assert json.loads(done.stdout)["sweeps"] == []
    assert "dataset.num_val" in done.stderr
