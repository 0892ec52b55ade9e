"""`augean clean`: what can go and what never does, and that tables say what is gone."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from augean.analysis.freshness import Freshness, FreshnessCheck
from augean.errors import AugeanError
from augean.report import make_report
from augean.store.checkpoints import CHECKPOINT, NEW_CHECKPOINT, save_checkpoint
from augean.store.cleaning import REMOVED, find_removable, read_removals, remove
from augean.store.find_run import find_run
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_progress import RunProgress
from augean.store.summary import RunSummary, read_summary
from augean.training.artifacts import write_state
from commands import augean
from fake_runs import sign, write_record, write_run

Job = dict[str, Any]


def never(_summary: RunSummary) -> bool:
    return False


def directory(outputs: Path, job: Job) -> Path:
    return runs_dir(outputs) / str(job["run"])


def write_weights(outputs: Path, job: Job) -> None:
    """Give a finished run weights and a state."""
    path = directory(outputs, job)
    (path / "best.pt").write_bytes(b"w" * 1000)
    write_state(path, b"s" * 3000)
    sign(path)


def write_table(outputs: Path, name: str = "table1") -> list[Job]:
    """Write a table of three runs with weights; the second has the best validation accuracy."""
    jobs = []
    for seed, accuracy in enumerate((0.91, 0.95, 0.93)):
        job = write_run(outputs, accuracy=accuracy, seed=seed, activation__name=name)
        path = directory(outputs, job)
        sign(path, val_accuracy=accuracy)
        write_weights(outputs, job)
        jobs.append(job)
    write_record(outputs, name, jobs)
    return jobs


def found(outputs: Path) -> dict[str, list[str]]:
    """Return the removable files by kind, from the folder of runs or of outputs."""
    files: dict[str, list[str]] = {}
    for item in find_removable(outputs, never):
        files.setdefault(item.kind, []).append(str(item.path.relative_to(outputs)))
    return files


def mentions(outputs: Path, job: Job) -> bool:
    """Return whether anything of a run could be removed."""
    return any(item.run == job["id"] for item in find_removable(outputs, never))


def test_the_weights_of_a_tables_best_run_are_kept(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    names = [f"runs/{job['run']}/best.pt" for job in jobs]
    assert sorted(found(tmp_path)["weights"]) == sorted([names[0], names[2]])


def test_a_diverged_run_is_not_the_best_however_good_it_was(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    diverged = write_run(tmp_path, seed=3, state="diverged")
    sign(directory(tmp_path, diverged), val_accuracy=0.99)
    write_record(tmp_path, "table1", [*jobs, diverged])
    names = [f"runs/{job['run']}/best.pt" for job in jobs]
    assert sorted(found(tmp_path)["weights"]) == sorted([names[0], names[2]])
    assert find_run("best:table1", tmp_path).name == jobs[1]["run"]


def test_where_the_best_run_may_be_a_damaged_one_all_weights_are_kept(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    (directory(tmp_path, jobs[1]) / "summary.json").write_text("{")
    assert "weights" not in found(tmp_path)


def test_where_no_run_has_a_validation_accuracy_all_weights_are_kept(tmp_path: Path) -> None:
    for job in write_table(tmp_path):
        sign(directory(tmp_path, job), val_accuracy=None)
    assert "weights" not in found(tmp_path)


def test_what_is_best_in_one_of_two_tables_is_kept(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    write_record(tmp_path, "smaller", jobs[2:])
    assert found(tmp_path)["weights"] == [f"runs/{jobs[0]['run']}/best.pt"]


@pytest.mark.parametrize("length", [4, 10])
def test_a_run_that_another_begins_from_keeps_its_weights(tmp_path: Path, length: int) -> None:
    jobs = write_table(tmp_path)
    weights = f"run:{jobs[0]['id'][:length]}"
    later = write_run(tmp_path, seed=7)
    config = directory(tmp_path, later) / "config.yaml"
    config.write_text(f"{config.read_text()}\nweights: {weights}\n")
    assert found(tmp_path)["weights"] == [f"runs/{jobs[2]['run']}/best.pt"]


def test_a_run_whose_file_another_names_keeps_its_weights(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    later = write_run(tmp_path, seed=7)
    config = directory(tmp_path, later) / "config.yaml"
    config.write_text(f"model:\n  weights: {directory(tmp_path, jobs[0])}/best.pt\n")
    assert found(tmp_path)["weights"] == [f"runs/{jobs[2]['run']}/best.pt"]


def test_a_run_that_a_sweep_names_as_its_beginning_keeps_its_weights(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    override = f"model.weights=null,run:{jobs[2]['id']}"
    write_record(tmp_path, "transfer", [], overrides=[override])
    assert found(tmp_path)["weights"] == [f"runs/{jobs[0]['run']}/best.pt"]


@pytest.mark.parametrize("name", ["id", "best"])
def test_an_outdated_run_that_another_begins_from_is_kept(tmp_path: Path, name: str) -> None:
    jobs = write_table(tmp_path)
    weights = f"run:{jobs[1]['id']}" if name == "id" else "run:best:table"
    config = directory(tmp_path, write_run(tmp_path, seed=7)) / "config.yaml"
    config.write_text(f"{config.read_text()}\nweights: {weights}\n")
    items = find_removable(tmp_path, lambda _summary: True)
    outdated = {item.run for item in items if item.kind == "outdated"}
    assert jobs[0]["id"] in outdated
    assert jobs[1]["id"] not in outdated
    assert directory(tmp_path, jobs[1]) / "best.pt" not in [item.path for item in items]


def test_a_run_of_no_sweep_keeps_its_weights(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    write_weights(tmp_path, job)
    assert "weights" not in found(tmp_path)


def write_study(outputs: Path) -> dict[str, Job]:
    """Write a study with a trial of each end, all unfinished runs with a checkpoint."""
    jobs: dict[str, Job] = {}
    for number, (state, score) in enumerate(
        (("complete", 0.9), ("complete", 0.8), ("pruned", 0.5), ("fail", None), ("running", None))
    ):
        kind = "finished" if state == "complete" else "interrupted"
        job = write_run(outputs, state=kind, seed=0, optimizer__lr=0.1 * (number + 1))
        key = f"{state}{number}"
        jobs[key] = job | {"trial": number, "state": state, "score": score}
        if state == "complete":
            write_weights(outputs, job)
        else:
            save_checkpoint(directory(outputs, job), b"c" * 500)
    write_record(outputs, "study", list(jobs.values()), kind="study", num_trials=5)
    return jobs


def test_checkpoints_of_pruned_and_failed_trials_alone_can_go(tmp_path: Path) -> None:
    jobs = write_study(tmp_path)
    files = found(tmp_path)
    assert files["weights"] == [f"runs/{jobs['complete1']['run']}/best.pt"]
    owners = {Path(file).parent.name for file in files["checkpoints"]}
    assert owners == {jobs["pruned2"]["run"], jobs["fail3"]["run"]}
    # Another sweep asks for the pruned trial's run.
    own = {
        key: value for key, value in jobs["pruned2"].items() if key in ("id", "run", "row", "seed")
    }
    write_record(tmp_path, "grid", [own])
    owners = {Path(file).parent.name for file in found(tmp_path)["checkpoints"]}
    assert owners == {jobs["fail3"]["run"]}


def write_leftover(folder: Path, name: str) -> None:
    """Write a file that a process left two hours ago."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    os.utime(folder / name, (0, time.time() - 7200))


def test_only_old_temporary_files_are_leftovers(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    path = directory(tmp_path, job)
    for folder in (path, tmp_path / "sweeps"):
        write_leftover(folder, ".a.json.0123456789ab.tmp")
        (folder / ".b.json.0123456789ab.tmp").write_text("x")
    (path / CHECKPOINT).write_bytes(b"c")
    assert sorted(found(tmp_path)["leftovers"]) == [
        f"runs/{job['run']}/.a.json.0123456789ab.tmp",
        f"runs/{job['run']}/{CHECKPOINT}",
        "sweeps/.a.json.0123456789ab.tmp",
    ]


def test_leftovers_of_other_programs_and_folders_stay(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    for folder in (directory(tmp_path, job), tmp_path / "sweeps", tmp_path):
        write_leftover(folder, ".editor-backup.tmp")
    write_leftover(tmp_path / "mine", ".a.json.0123456789ab.tmp")
    assert "leftovers" not in found(tmp_path)


@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_a_leftover_is_listed_once(tmp_path: Path, state: str) -> None:
    job = write_run(tmp_path, state=state)
    write_leftover(directory(tmp_path, job), NEW_CHECKPOINT)
    assert found(tmp_path)["leftovers"] == [f"runs/{job['run']}/{NEW_CHECKPOINT}"]


def test_what_goes_with_an_outdated_run_is_not_listed_again(tmp_path: Path) -> None:
    job = write_run(tmp_path)
    write_leftover(directory(tmp_path, job), ".a.json.0123456789ab.tmp")
    items = find_removable(tmp_path, lambda _summary: True)
    assert [item.path for item in items] == [directory(tmp_path, job)]


def test_an_outdated_run_goes_as_a_whole_and_is_listed(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    old = directory(tmp_path, jobs[0])
    sign(old, core=0)
    (item,) = find_removable(tmp_path, lambda summary: summary.core == 0)[:1]
    done = augean("clean", "outdated", "--yes", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (item.kind, item.path) == ("outdated", old)
    assert "Removed: 1 run, " in done.stdout
    assert "1 run: Augean's mathematics has changed (core 0" in done.stdout
    assert not old.exists()
    (removal,) = read_removals(tmp_path)
    assert (removal.kind, removal.path) == ("outdated", f"runs/{old.name}")


def test_nothing_goes_without_yes_nor_without_a_kind(tmp_path: Path) -> None:
    write_table(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = augean("clean", "--outputs", str(tmp_path))
    assert done.returncode == 0
    assert "2 files, 2.0 kB" in done.stdout
    assert "3 files, 9.0 kB" in done.stdout
    # The command that it names is for this folder and no other.
    assert f" --outputs {tmp_path} --yes" in done.stdout
    assert "To remove what holds no result: augean clean weights " in done.stdout
    assert augean("clean", "--yes", "--outputs", str(tmp_path)).returncode == 1
    assert augean("clean", "wieghts", "--yes", "--outputs", str(tmp_path)).returncode == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_results_are_removed_by_those_alone_who_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path)
    monkeypatch.setattr(FreshnessCheck, "check", lambda *_: Freshness("yes", "its code"))
    done = augean("clean", "--outputs", str(tmp_path))
    assert "outdated " in done.stdout
    advice = done.stdout.partition("To remove")[2]
    assert "outdated" not in advice


def test_what_is_locked_stays(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    items = [item for item in find_removable(tmp_path, never) if item.kind == "weights"]
    with hold_lock(tmp_path, jobs[0]["id"], wait=False):
        result = remove(tmp_path, items)
    assert [item.run for item in result.locked] == [jobs[0]["id"]]
    assert (directory(tmp_path, jobs[0]) / "best.pt").exists()
    assert not (directory(tmp_path, jobs[2]) / "best.pt").exists()


def test_a_run_in_training_is_not_even_shown(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    RunProgress(epoch=1, epochs=2, fraction=0.1, seconds_left=None).write(
        directory(tmp_path, jobs[0])
    )
    assert not mentions(tmp_path, jobs[0])


def test_a_damaged_record_stops_all_and_a_damaged_summary_its_run(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    (directory(tmp_path, jobs[0]) / "summary.json").write_text("{")
    assert not mentions(tmp_path, jobs[0])
    (tmp_path / "sweeps" / "bad.json").write_text("{")
    with pytest.raises(AugeanError, match="nothing is removed"):
        found(tmp_path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outputs = tmp_path / "outputs"
    jobs = write_table(outside)
    target = directory(outside, jobs[0])
    leftover = ".a.json.0123456789ab.tmp"
    write_leftover(target, leftover)
    runs_dir(outputs).mkdir(parents=True)
    (runs_dir(outputs) / target.name).symlink_to(target)
    for name in ("studies", "report"):
        (outputs / name).symlink_to(target)
    write_leftover(target / "tables", leftover)
    (outputs / leftover).symlink_to(target / leftover)
    assert found(outputs) == {}


def test_results_stay_and_the_table_says_that_weights_are_gone(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    paths = [directory(tmp_path, job) for job in jobs]
    before = [read_summary(path) for path in paths]
    done = augean("clean", "weights", "states", "--yes", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [read_summary(path) for path in paths] == before
    assert not list(tmp_path.glob("runs/*/state.pt"))
    digests = {removal.sha256 for removal in read_removals(tmp_path)}
    assert digests == {before[0].files["best.pt"], before[0].files["state.pt"]}  # type: ignore[union-attr]
    make_report(tmp_path)
    page = tmp_path / "report" / "report.md"
    assert "The weights of 2 runs were removed (augean clean)." in page.read_text()
    # Trained again, the run has weights again.
    write_weights(tmp_path, jobs[0])
    make_report(tmp_path)
    assert "The weights of 1 run were removed" in page.read_text()


def test_a_full_disk_is_freed_and_the_removal_listed_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path)
    items = find_removable(tmp_path, never)
    (tmp_path / REMOVED).symlink_to("/dev/full")
    result = remove(tmp_path, items[:1])
    assert result.removed == result.unlisted == items[:1]
    assert not items[0].path.exists()

    # A disk on which there is room once the file is gone.
    unlink = Path.unlink

    def unlink_and_free(path: Path, missing_ok: bool = False) -> None:
        (tmp_path / REMOVED).exists() and unlink(tmp_path / REMOVED)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_and_free)
    result = remove(tmp_path, items[1:2])
    assert (result.removed, result.unlisted) == (items[1:2], [])
    assert [removal.path for removal in read_removals(tmp_path)] == [
        str(items[1].path.relative_to(tmp_path))
    ]


def test_a_list_that_cannot_be_written_is_named_and_nothing_removed(tmp_path: Path) -> None:
    write_table(tmp_path)
    (tmp_path / REMOVED).mkdir()
    item = find_removable(tmp_path, never)[0]
    with pytest.raises(AugeanError, match=rf"cannot write {tmp_path / REMOVED}: Is a directory"):
        remove(tmp_path, [item])
    assert item.path.exists()


def test_a_line_that_was_torn_is_passed_over(tmp_path: Path) -> None:
    write_table(tmp_path)
    item = find_removable(tmp_path, never)[0]
    remove(tmp_path, [item])
    with (tmp_path / "removed.jsonl").open("a") as file:
        file.write('{"time": "2026')
    assert len(read_removals(tmp_path)) == 1
    # Nor does half a line take the next one with it.
    remove(tmp_path, [find_removable(tmp_path, never)[0]])
    assert len(read_removals(tmp_path)) == 2
