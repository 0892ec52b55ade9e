"""Each run counts once, whatever copies of its directory lie beside it."""

import shutil
from pathlib import Path

import pytest

from augean.analysis.load import Contents, scan
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState
from fake_runs import write_record, write_run


def finished_beside(outputs: Path, name: str) -> Contents:
    """A finished run, and beside it a copy from before it was finished."""
    job = write_run(outputs, accuracy=0.9, files=False)
    run = runs_dir(outputs) / job["run"]
    interrupted = runs_dir(outputs) / f"{name}-{job['id']}"
    shutil.copytree(run, interrupted)
    (interrupted / "summary.json").unlink()
    return scan(outputs)


@pytest.mark.parametrize("name", ["a-set-aside", "z-set-aside"])
def test_a_directory_without_a_result_hides_no_finished_run(tmp_path: Path, name: str) -> None:
    contents = finished_beside(tmp_path, name)
    (run,) = contents.runs.values()
    assert run.state is RunState.FINISHED
    assert run.test_accuracy == pytest.approx(0.9)
    assert contents.problems == []


@pytest.mark.parametrize("name", ["a-set-aside", "z-set-aside"])
def test_a_finished_copy_stands_in_for_an_unfinished_original(tmp_path: Path, name: str) -> None:
    job = write_run(tmp_path, accuracy=0.9, files=False)
    run = runs_dir(tmp_path) / job["run"]
    shutil.copytree(run, runs_dir(tmp_path) / name)
    (run / "summary.json").unlink()
    contents = scan(tmp_path)
    assert [item.directory for item in contents.runs.values()] == [name]
    assert contents.problems == []


def test_a_job_that_is_asked_for_twice_is_one_job(tmp_path: Path) -> None:
    job = write_run(tmp_path, accuracy=0.9, files=False)
    write_record(tmp_path, "twice", [job, job])
    (sweep,) = scan(tmp_path).sweeps
    assert len(sweep.job_runs) == 1
