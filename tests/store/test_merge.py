"""Merging an archive loses nothing that is there, whoever else writes at that moment."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from augean.errors import AugeanError
from augean.store.archive.merge import MergedRun
from augean.store.archive.packing import pack, unpack
from augean.store.locks import hold_lock
from augean.store.run_directory import clear_leftovers, runs_dir
from augean.store.run_files import UNPACKED
from augean.store.run_progress import RunProgress
from augean.store.sweep_record import SweepJob, SweepRecord, read_record
from fake_runs import contents, trial_job, write_record, write_run


def pack_grid(folder: Path, seeds: list[int]) -> Path:
    """Pack a grid of runs with the seeds."""
    jobs = [write_run(folder, seed=seed, epochs=1, files=False, row="x") for seed in seeds]
    write_record(folder, "sweep", jobs)
    archive = folder.with_suffix(".tar.xz")
    assert pack(folder, archive) == []
    return archive


def seeds_of(record: Path) -> list[int]:
    return sorted(job.seed for job in read_record(record).jobs)


def test_many_merges_at_once_lose_no_job(tmp_path: Path) -> None:
    archives = [pack_grid(tmp_path / f"grid{seed}", [seed, seed + 1]) for seed in range(6)]
    together = threading.Barrier(len(archives))
    failures: list[Exception] = []

    def work(archive: Path) -> None:
        together.wait()
        try:
            unpack(archive, tmp_path / "outputs")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(archive,)) for archive in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert seeds_of(tmp_path / "outputs" / "sweeps" / "sweep.json") == list(range(7))
    assert len(list(runs_dir(tmp_path / "outputs").iterdir())) == 7


@pytest.mark.parametrize("lock", ["sweep-sweep", "study-sweep"])
def test_a_job_that_is_noted_during_a_merge_is_not_lost(lock: str, tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0, 1])
    outputs = tmp_path / "ours"
    pack_grid(outputs, [2])
    file = outputs / "sweeps" / "sweep.json"
    merging = threading.Thread(target=unpack, args=(archive, outputs))
    with hold_lock(outputs, lock, wait=True):
        merging.start()
        merging.join(timeout=0.5)
        assert merging.is_alive()
        record = read_record(file)
        job = SweepJob(id="0123456789", run="x-0123456789", row="x", seed=3)
        replace(record, jobs=[*record.jobs, job]).write(outputs)
    merging.join(timeout=60)
    assert seeds_of(file) == [0, 1, 2, 3]


def test_a_damaged_record_here_stops_the_merge_before_it_begins(tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0])
    outputs = tmp_path / "ours"
    (outputs / "sweeps").mkdir(parents=True)
    (outputs / "sweeps" / "sweep.json").write_text("{")
    before = contents(outputs)
    with pytest.raises(AugeanError, match="not a sweep record"):
        unpack(archive, outputs)
    assert contents(outputs) == before


@pytest.mark.parametrize("ours", ["grid", "study"])
def test_a_grid_and_a_study_of_one_name_are_not_mixed(ours: str, tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "grid", [0])
    study = SweepRecord(
        name="sweep", title="T", command="c", created="now", jobs=[], kind="study", num_trials=1
    )
    study.write(tmp_path / "study")
    if ours == "grid":
        pack(tmp_path / "study", tmp_path / "study.tar.xz")
        archive = tmp_path / "study.tar.xz"
    file = tmp_path / ours / "sweeps" / "sweep.json"
    before = file.read_bytes()
    remarks = unpack(archive, tmp_path / ours).remarks
    assert remarks == [f"{file}: a {ours} of that name is here and stays"]
    assert file.read_bytes() == before


def write_design(folder: Path, seeds: dict[str, int], margin: float) -> Path:
    """Give a packed grid a sequential design, and pack it again."""
    path = folder / "sweeps" / "sweep.json"
    record = read_record(path)
    replace(record, design={"margin": margin, "seeds": seeds}).write(folder)
    archive = folder.with_suffix(".tar.xz")
    pack(folder, archive)
    return archive


def test_a_settled_table_keeps_its_design(tmp_path: Path) -> None:
    pack_grid(tmp_path / "settled", [0, 1])
    archive = write_design(tmp_path / "settled", {"x": 4}, margin=1.0)
    pack_grid(tmp_path / "plain", [0])
    assert unpack(archive, tmp_path / "plain").remarks == []
    path = tmp_path / "plain" / "sweeps" / "sweep.json"
    assert read_record(path).design == {"margin": 1.0, "seeds": {"x": 4}}
    write_design(tmp_path / "plain", {"x": 2, "y": 3}, margin=1.0)
    unpack(archive, tmp_path / "plain")
    assert read_record(path).design["seeds"] == {"x": 4, "y": 3}
    write_design(tmp_path / "plain", {"x": 2}, margin=0.5)
    (remark,) = unpack(archive, tmp_path / "plain").remarks
    assert "another design" in remark
    assert read_record(path).design["margin"] == 0.5


def study_record(num_trials: int, seeds: list[int]) -> SweepRecord:
    """A study of so many trials, whose best one has further seeds."""
    jobs = [trial_job(number, 0.5) for number in range(num_trials)]
    for seed in seeds:
        # Another trial is the best one as soon as there are more of them.
        name = f"run-{1000 * num_trials + seed:010x}"
        jobs.append(SweepJob(id=name[-10:], run=name, row="trial 0, new seeds", seed=seed))
    return SweepRecord(
        name="sweep",
        title="T",
        command="c",
        created="now",
        jobs=jobs,
        kind="study",
        num_trials=num_trials,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        # A later state with other confirmed trials and fewer seeds.
        (study_record(2, [1, 2, 3]), study_record(3, [1]), study_record(3, [1])),
        (study_record(3, [1]), study_record(2, [1, 2, 3]), study_record(3, [1])),
        (study_record(2, [1]), study_record(2, [1, 2]), study_record(2, [1, 2])),
    ],
)
def test_the_later_state_of_a_study_stays_whatever_its_seeds(
    ours: SweepRecord, theirs: SweepRecord, expected: SweepRecord, tmp_path: Path
) -> None:
    for folder, record in (("ours", ours), ("theirs", theirs)):
        record.write(tmp_path / folder)
    pack(tmp_path / "theirs", tmp_path / "study.tar.xz")
    assert unpack(tmp_path / "study.tar.xz", tmp_path / "ours").remarks == []
    assert read_record(tmp_path / "ours" / "sweeps" / "sweep.json") == expected


def test_of_equal_jobs_ours_stays(tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0])
    outputs = tmp_path / "ours"
    pack_grid(outputs, [0])
    file = outputs / "sweeps" / "sweep.json"
    record = read_record(file)
    replace(record, jobs=[replace(record.jobs[0], values={"note": "ours"})]).write(outputs)
    before = file.read_bytes()
    unpack(archive, outputs)
    assert file.read_bytes() == before


def test_a_run_that_was_completed_elsewhere_is_no_longer_in_progress(tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0])
    outputs = tmp_path / "ours"
    write_run(outputs, seed=0, epochs=1, files=False, state="interrupted")
    path = next(runs_dir(outputs).iterdir())
    progress = RunProgress(epoch=1, epochs=1, fraction=0.5, seconds_left=None)
    progress.write(path)
    assert unpack(archive, outputs).runs == {MergedRun.COMPLETED: 1}
    (path / UNPACKED).unlink()  # its mark
    assert contents(path) == contents(next(runs_dir(tmp_path / "theirs").iterdir()))


def test_a_run_is_marked_as_unpacked_until_it_is_trained_here(tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0])
    outputs = tmp_path / "ours"
    pack_grid(outputs, [1])
    (ours,) = runs_dir(outputs).iterdir()
    unpack(archive, outputs)
    marked = [mark.parent for mark in runs_dir(outputs).glob(f"*/{UNPACKED}")]
    assert [path.name for path in marked] == [
        path.name for path in runs_dir(tmp_path / "theirs").iterdir()
    ]
    assert ours not in marked
    clear_leftovers(marked[0])
    assert not (marked[0] / UNPACKED).exists()


def test_what_a_killed_unpack_left_is_removed_by_the_next(tmp_path: Path) -> None:
    archive = pack_grid(tmp_path / "theirs", [0])
    runs = runs_dir(tmp_path / "outputs")
    (runs / ".unpack-killed" / "runs").mkdir(parents=True)
    unpack(archive, tmp_path / "outputs")
    assert [path.name for path in runs.iterdir() if path.name.startswith(".")] == []
