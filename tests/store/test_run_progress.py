"""The progress file of a run in training."""

import json
from pathlib import Path

import pytest

from augean.store.run_progress import PROGRESS_FILE, RunProgress, read_progress, remove_progress


def test_progress_that_was_written_is_read_back(tmp_path: Path) -> None:
    progress = RunProgress(epoch=3, epochs=10, fraction=0.25, seconds_left=12.5, val_accuracy=0.5)
    progress.write(tmp_path)
    assert read_progress(tmp_path) == progress
    remove_progress(tmp_path)
    assert read_progress(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_progress_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    progress = RunProgress(epoch=3, epochs=10, fraction=0.25, seconds_left=12.5)
    progress.write(tmp_path)
    file = tmp_path / PROGRESS_FILE
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"best_val_accuracy": 0.5}))
    assert read_progress(tmp_path) == progress


@pytest.mark.parametrize("content", ["", "[]", "{", '{"epoch": 1}', "\ud800"])
def test_a_damaged_progress_file_reads_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / PROGRESS_FILE).write_bytes(content.encode(errors="surrogatepass"))
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("value", ['"much"', "true", "NaN", "Infinity", "-1", "1e300", "[]"])
def test_a_progress_value_of_another_type_reads_as_none(tmp_path: Path, value: str) -> None:
    RunProgress(epoch=3, epochs=10, fraction=0.25, seconds_left=0.75).write(tmp_path)
    file = tmp_path / PROGRESS_FILE
    content = file.read_text()
    file.write_text(content.replace("0.25", value))
    assert read_progress(tmp_path) is None
    file.write_text(content.replace("0.75", value))
    assert read_progress(tmp_path) is None
