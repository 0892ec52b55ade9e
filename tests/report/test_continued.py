"""A table says that its runs began with the state of shorter ones."""

from pathlib import Path

from augean.report import make_report
from augean.store.run_directory import runs_dir
from augean.store.summary import Continuation
from fake_runs import sign, write_record, write_run


def test_a_caption_says_how_many_runs_continue_a_shorter_one(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, seed=seed) for seed in range(3)]
    write_record(tmp_path, "alone", jobs)
    make_report(tmp_path)
    page = tmp_path / "report" / "report.md"
    assert "continued" not in page.read_text()
    begun = Continuation(run="0123456789", epoch=5, seconds=20.0)
    for job in jobs[:2]:
        sign(runs_dir(tmp_path) / job["run"], continued=begun)
    make_report(tmp_path)
    assert "with those of the shorter training that 2 runs continued." in page.read_text()
